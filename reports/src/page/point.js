(() => {
  const all = [...document.querySelectorAll("[data-s]")];
  const show = s => all.forEach(e => e.classList.toggle("dim", s !== null && e.dataset.s !== s));
  for (const e of document.querySelectorAll(".legend [data-s], tbody [data-s]")) {
    e.addEventListener("pointerenter", () => show(e.dataset.s));
    e.addEventListener("pointerleave", () => show(null));
  }
  for (const svg of document.querySelectorAll("svg[data-rows]")) {
    const names = svg.dataset.names.split("\t");
    const rows = svg.dataset.rows.split("\n").map(row => row.split("\t"));
    const out = svg.nextElementSibling;
    const rule = svg.querySelector(".rule");
    const show = is => rule.classList.toggle("on", is);
    svg.addEventListener("pointermove", e => {
      const at = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const far = row => Math.abs(row[0] - at.x);
      const row = rows.reduce((a, b) => far(b) < far(a) ? b : a);
      rule.setAttribute("x1", row[0]);
      rule.setAttribute("x2", row[0]);
      show(true);
      out.textContent = names.map((name, i) => (name ? name + " " : "") + row[i + 1]).join("   ");
    });
    svg.addEventListener("pointerleave", () => { show(false); out.textContent = ""; });
  }
})();
