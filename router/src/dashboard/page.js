"use strict";
// Draws what the router tells once a second. Lists come in the order that the router's code gives
// to them: `point` and `instances` are the two.
const AT = 0, ARRIVALS = 1, QUEUED = 2, WAIT = 3, BUSY = 4, SLOTS = 5, OURS = 6, PLAIN = 7;
const STATES = { s: "starts", r: "serves", d: "leaves", x: "has left" };

const byId = (id) => document.getElementById(id);
const make = (tag, name, ...children) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
};
const svg = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
/** Sets a text only where it is another one, so that selections and screen readers are left alone. */
const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const tell = (text) => say(byId("news"), text);

const count = (n) => Math.round(n).toLocaleString("en");
const many = (n, one, more = one + "s") => `${count(n)} ${n === 1 ? one : more}`;
const span = (ms) => {
  if (ms < 1) return ms > 0 ? ms.toFixed(1) + " ms" : "0 ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 9950) return (ms / 1000).toFixed(1) + " s";
  if (ms < 120000) return Math.round(ms / 1000) + " s";
  return Math.round(ms / 60000) + " min";
};
const dollars = (n) => {
  if (n <= 0) return "$0";
  if (n >= 100) return "$" + count(n);
  return "$" + n.toFixed(n >= 0.1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(n))));
};
const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
const rate = (n) => (n < 10 && n % 1 ? n.toFixed(1) : count(n));
const most = (points, of) => points.reduce((top, point) => Math.max(top, of(point)), 0);
/** The next of 1, 2, 5, 10, 20, ... */
const round = (top) => {
  if (top <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= top * 0.999);
};

// -- Ten minutes as a picture ---------------------------------------------------------------------

const WIDTH = 600, HEIGHT = 72;

/** Points without a gap between them, in which the page was not told. */
const runs = (points) => points.reduce((runs, point, i) => {
  if (i > 0 && point[AT] - points[i - 1][AT] < 5000) runs.at(-1).push(point);
  else runs.push([point]);
  return runs;
}, []);

class Chart {
  /** `of` and `other` take a value from a point; `name` writes one down. */
  constructor(id, of, name, other) {
    Object.assign(this, { of, other, name, shown: [], chosen: null });
    this.value = make("p", "value");
    this.aside = make("p", "aside");
    this.top = make("span", "top");
    this.top.setAttribute("aria-hidden", "true");
    this.picture = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    });
    this.paths = {};
    for (const part of ["base", "area", "line", "other", "at"]) {
      this.paths[part] = svg("path", { class: part, d: "" });
      this.picture.append(this.paths[part]);
    }
    this.paths.base.setAttribute("d", `M0 0H${WIDTH}M0 ${HEIGHT}H${WIDTH}`);
    const ends = make("p", "ends", make("span", "", "10 min ago"), make("span", "", "now"));
    ends.setAttribute("aria-hidden", "true");
    const chart = make("div", "chart", this.picture, this.top);
    byId(id).append(this.value, this.aside, chart, ends);
    this.title = byId(id).querySelector("h3").textContent;
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      this.chosen = (event.clientX - box.left) / box.width;
      this.point();
    });
    chart.addEventListener("pointerleave", () => { this.chosen = null; this.point(); });
  }

  draw(points, now, kept, big, unit, aside) {
    this.shown = points;
    this.now = now;
    this.kept = kept;
    this.usual = aside;
    this.value.replaceChildren(big, make("small", "", unit));
    const x = (point) => (((point[AT] - now + kept) / kept) * WIDTH).toFixed(1);
    const top = round(Math.max(most(points, this.of), this.other ? most(points, this.other) : 0));
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(1);
    const path = (run, of) => run.map((point) => `${x(point)} ${y(of(point))}`).join("L");
    const lines = (of) => runs(points).map((run) => "M" + path(run, of)).join("");
    const areas = runs(points).map((run) =>
      `M${x(run[0])} ${HEIGHT}L${path(run, this.of)}V${HEIGHT}Z`);
    this.paths.line.setAttribute("d", lines(this.of));
    this.paths.area.setAttribute("d", areas.join(""));
    if (this.other) this.paths.other.setAttribute("d", lines(this.other));
    say(this.top, this.name(top));
    const peak = `${this.title}: now ${big}${unit}; most in ten minutes `
      + this.name(most(points, this.of));
    this.picture.setAttribute("aria-label", peak);
    this.point();
  }

  /** What is under the pointer, in place of what is said beside the value. */
  point() {
    let d = "", text = this.usual || "";
    if (this.chosen !== null && this.shown.length > 0) {
      const at = this.now - this.kept * (1 - this.chosen);
      const near = this.shown.reduce((best, point) =>
        (Math.abs(point[AT] - at) < Math.abs(best[AT] - at) ? point : best));
      d = `M${(((near[AT] - this.now + this.kept) / this.kept) * WIDTH).toFixed(1)} 0V${HEIGHT}`;
      text = `${clock(near[AT])}: ${this.name(this.of(near))}`;
      if (this.other) text += ` (${this.name(this.other(near))})`;
    }
    this.paths.at.setAttribute("d", d);
    say(this.aside, text);
  }
}

const charts = {
  arrivals: new Chart("arrivals", (point) => point[ARRIVALS], rate),
  queued: new Chart("queued", (point) => point[QUEUED], count),
  wait: new Chart("wait", (point) => point[WAIT], span),
  slots: new Chart("slots", (point) => point[BUSY], count, (point) => point[SLOTS]),
  cost: new Chart("cost", (point) => point[OURS], dollars, (point) => point[PLAIN]),
};

function drawCharts(pool, points, now) {
  const last = pool.point;
  const draw = (chart, big, unit, aside) => chart.draw(points, now, keptMs, big, unit, aside);
  draw(charts.arrivals, rate(last[ARRIVALS]), " per second",
    `${count(pool.arrived)} since the start`);
  draw(charts.queued, count(pool.queued), pool.queued === 1 ? " request" : " requests",
    `at most ${count(most(points, (point) => point[QUEUED]))} in ten minutes`);
  draw(charts.wait, span(last[WAIT]), "",
    `at most ${span(most(points, (point) => point[WAIT]))}; `
    + `a cold start takes ${span(pool.cold_start_ms)}`);
  draw(charts.slots, count(pool.slots_busy), ` of ${count(pool.slots)} busy`,
    "grey: slots offered");
  const [ours, plain] = [last[OURS], last[PLAIN]];
  let beside = `grey: plain Lambda, ${dollars(plain)}`;
  if (ours > 0 && plain >= ours * 1.05) beside += `, ${(plain / ours).toFixed(1)} times as much`;
  if (plain > 0 && ours >= plain * 1.05) beside += `, ${Math.round(100 - 100 * plain / ours)} % less`;
  draw(charts.cost, dollars(ours), " an hour", beside);
}

// -- The promise ----------------------------------------------------------------------------------

function drawPromise(pool) {
  const card = byId("promise"), part = (name) => card.querySelector("." + name);
  const [queued, slots, service, cold] =
    [pool.queued, pool.slots, pool.service_ms, pool.cold_start_ms];
  const blind = queued > 0 && slots === 0;
  const wait = slots > 0 ? (queued / slots) * service : blind ? cold : 0;
  const share = cold > 0 ? wait / cold : 0;
  const over = share >= 1;
  part("value").replaceChildren(blind ? "a start" : span(wait),
    make("small", "", blind ? "" : ` of ${span(cold)}`));
  say(part("aside"), blind ? "no slot yet: who waits, waits for an instance"
    : over ? "some will wait as long as a cold start" : "nobody will wait as long as a cold start");
  part("aside").classList.toggle("warn", over);
  part("gauge").classList.toggle("over", over);
  part("fill").style.width = Math.min(100, share * 80).toFixed(2) + "%";
  part("gauge").setAttribute("aria-label",
    `${Math.round(share * 100)} % of the time that a cold start takes`);
  say(part("mark"), `a cold start: ${span(cold)}`);
  say(part("formula"), `Q/C·t against T: ${count(queued)} waiting / ${many(slots, "slot")} × `
    + `${span(service)}`);
  return over;
}

// -- Instances ------------------------------------------------------------------------------------

const cells = [];

function cell() {
  const id = make("b"), left = make("span");
  const bar = make("div", "bar"), lease = make("div", "left");
  const root = make("div", "one", make("div", "who", id, left), bar, lease);
  return { root, id, left, bar, lease, was: "" };
}

function drawInstances(pool) {
  const all = pool.instances, grid = byId("grid");
  while (cells.length < all.length) cells.push(cell());
  const shown = grid.childElementCount;
  for (let i = shown; i < all.length; i += 1) grid.append(cells[i].root);
  for (let i = shown; i > all.length; i -= 1) grid.lastElementChild.remove();
  const small = all.length > 48;
  grid.classList.toggle("many", small);
  all.forEach((one, i) => drawInstance(cells[i], one, small));
  const sum = all.length + pool.instances_more;
  const parts = [["ready", "serving"], ["starting", "starting"], ["draining", "leaving"],
    ["detached", "gone, but billed"]];
  const words = parts.filter(([key]) => pool[key] > 0).map(([key, word]) => `${count(pool[key])} ${word}`);
  const text = sum === 0 ? "None runs." : `${words.join(", ")}; ${count(pool.desired)} wanted.`;
  say(byId("instances-sum"), text);
  grid.setAttribute("aria-label", `${many(sum, "instance")}, drawn; the table below lists them`);
  say(byId("instances-more"), pool.instances_more ? `+${count(pool.instances_more)} more, not drawn` : "");
  if (byId("as-table").open) listInstances(all.slice(0, 200));
}

function drawInstance(cell, one, small) {
  const now = one.join() + small;
  if (cell.was === now) return;
  cell.was = now;
  const [id, state, slots, busy, age, lease] = one;
  cell.root.className = "one " + state;
  const rest = lease ? `${span(lease[0])} left` : state === "s" ? `starts for ${span(age)}` : "";
  if (!small) {
    say(cell.id, id);
    say(cell.left, rest);
  }
  cell.root.title = `${id} ${STATES[state]}, ${busy} of ${slots} slots busy${rest && ", " + rest}`;
  cell.bar.style.setProperty("--slots", Math.max(1, slots));
  cell.bar.style.setProperty("--busy", (slots ? (100 * busy) / slots : busy ? 100 : 0) + "%");
  cell.lease.style.width = lease && lease[1] ? (100 * lease[0]) / lease[1] + "%" : "0";
}

function listInstances(all) {
  fill(byId("as-table").querySelector("tbody"), all.map(([id, state, slots, busy, age, lease]) =>
    [id, STATES[state], `${busy} of ${slots}`, span(age), lease ? span(lease[0]) : "–"]), "none runs");
}

// -- Tables ---------------------------------------------------------------------------------------

/** Rows of texts, numbers and elements; `none` where there is no row. What stays the same is left
    alone, so that it keeps focus and selection. */
function fill(body, rows, none) {
  if (rows.length === 0) {
    const only = make("td", "none", none);
    only.colSpan = body.parentElement.rows[0].cells.length;
    body.replaceChildren(make("tr", "", only));
    return;
  }
  if (body.querySelector(".none")) body.replaceChildren();
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    const line = body.rows[i] || body.insertRow();
    row.forEach((it, j) => {
      const cell = line.cells[j] || line.insertCell();
      const text = typeof it === "number" ? count(it) : it.textContent ?? it;
      if (typeof it === "number") cell.className = "number";
      if (cell.textContent !== text) cell.replaceChildren(it.textContent === undefined ? text : it);
    });
  });
}
const body = (id) => byId(id).querySelector("tbody");
const when = (text) => {
  const time = make("time", "", clock(text));
  time.dateTime = text;
  return time;
};

/** The reason of a decision, without digits that nobody reads. */
const reason = (text) => text.slice(text.indexOf(": ") + 2).replaceAll(" x ", " × ")
  .replace(/\d+\.\d{2,}/g, (number) => String(Number(Number(number).toPrecision(3))))
  .replace(/(\d)(ms|s)\b/g, "$1 $2");

function drawTables(now, pool) {
  const ours = (it) => it.pool === pool.name;
  fill(body("decisions"), now.decisions.filter(ours).reverse().map((it) =>
    [when(it.at), `${it.from} → ${it.to}`, reason(it.text)]), "none yet");
  fill(body("problems"), now.problems.filter(ours).reverse().map((it) => [when(it.last), it.text]),
    "none, as far as is known");
  const words = ([word, sum]) => [word.replaceAll("_", " "), sum];
  fill(body("requests"), pool.requests.map(words), "none yet");
  const ended = pool.invokes_ended.map(words);
  const open = pool.starting + pool.ready + pool.draining + pool.detached;
  fill(body("invokes"), open > 0 ? [["still running", open], ...ended] : ended, "none yet");
}

function drawPools(now) {
  byId("pools").hidden = now.pools.length < 2;
  if (now.pools.length < 2) return;
  fill(body("pools"), now.pools.map((pool) => {
    const choose = make("button", "", pool.name);
    choose.type = "button";
    choose.dataset.pool = pool.name;
    const last = pool.point;
    return [choose, rate(last[ARRIVALS]), count(pool.queued), span(last[WAIT]),
      `${count(pool.slots_busy)} of ${count(pool.slots)}`,
      count(pool.ready + pool.starting + pool.draining), dollars(last[OURS])];
  }), "none");
  for (const button of body("pools").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.pool === chosen()));
  }
  say(byId("pools-more"), now.pools_more ? `+${now.pools_more} more: see /metrics` : "");
}

// -- What the router tells ------------------------------------------------------------------------

let keptMs = 600000, latest = null, source = null, heard = 0, retry = 0, last = {};
const past = new Map();
/** What the address asks for, which somebody may have written by hand. */
const wanted = () => {
  const text = location.hash.slice(1);
  try { return decodeURIComponent(text); } catch { return text; }
};
const chosen = () => {
  const name = wanted();
  const pools = latest ? latest.pools : [];
  return (pools.find((pool) => pool.name === name) || pools[0] || { name: "" }).name;
};

function draw() {
  if (!latest) return;
  drawPools(latest);
  say(byId("readiness"), latest.readiness);
  byId("readiness").classList.toggle("ready", latest.readiness === "ready");
  const pool = latest.pools.find((it) => it.name === chosen());
  if (!pool) return;
  drawCharts(pool, past.get(pool.name) || [], latest.at_ms);
  const over = drawPromise(pool);
  drawInstances(pool);
  drawTables(latest, pool);
  const title = `${count(pool.queued)} waiting – lambda-dispatch`;
  if (document.title !== title) document.title = title;
  const problem = latest.problems.at(-1);
  const news = { readiness: latest.readiness, over, problem: problem ? problem.first + problem.text : "" };
  if (last.readiness && last.readiness !== news.readiness) tell(`The router is ${news.readiness}.`);
  else if (last.over === false && over) tell("Requests will wait as long as a cold start.");
  else if (last.over && !over) tell("Nobody will wait as long as a cold start.");
  else if (last.readiness && problem && last.first !== problem.first) tell(`Problem: ${problem.text}.`);
  last = { ...news, first: problem ? problem.first : undefined };
}

function onHistory(event) {
  const told = JSON.parse(event.data);
  keptMs = told.kept_ms;
  past.clear();
  for (const pool of told.pools) past.set(pool.name, pool.points);
}

function onNow(event) {
  heard = Date.now();
  latest = JSON.parse(event.data);
  for (const pool of latest.pools) {
    // Later points are from before the clock was set back.
    const before = (past.get(pool.name) || []).filter((point) => point[AT] < pool.point[AT]);
    const points = [...before, pool.point];
    past.set(pool.name, points.filter((point) => point[AT] >= latest.at_ms - keptMs));
  }
  link("Live", false);
  draw();
}

function link(text, wrong) {
  say(byId("link"), text);
  byId("link").classList.toggle("warn", wrong);
  byId("link").classList.toggle("live", text === "Live");
}

function open() {
  clearTimeout(retry);
  source = new EventSource("dashboard/events");
  source.addEventListener("history", onHistory);
  source.addEventListener("now", onNow);
  source.addEventListener("error", async () => {
    link("Not connected; trying again…", true);
    if (source.readyState !== EventSource.CLOSED) return;
    // It was refused; the reason is told to whoever asks in another way.
    retry = setTimeout(open, 10000);
    const answer = await fetch("dashboard/events", { signal: AbortSignal.timeout(3000) }).catch(() => null);
    if (answer && !answer.ok) link((await answer.text()).trim(), true);
  });
}

// Nobody looks at a page that is hidden, and others may want its place.
function look() {
  clearTimeout(retry);
  if (source) source.close();
  if (document.hidden) link("Paused while hidden", false);
  else open();
}
document.addEventListener("visibilitychange", look);
document.addEventListener("click", (event) => {
  const pool = event.target.dataset && event.target.dataset.pool;
  if (pool) location.hash = encodeURIComponent(pool);
});
window.addEventListener("hashchange", draw);
byId("as-table").addEventListener("toggle", draw);
setInterval(() => {
  const silent = Date.now() - heard;
  if (heard && silent > 5000 && !document.hidden) link(`Nothing heard for ${span(silent)}`, true);
}, 1000);
look();
