import { Suspense } from 'react';

export const dynamic = 'force-dynamic';

async function Late() {
  await new Promise((done) => setTimeout(done, 2000));
  return <p>The rest, two seconds later</p>;
}

// The first part is shown at once, the rest follows in the same response.
export default function Page() {
  return (
    <main>
      <h1>At once</h1>
      <Suspense fallback={<p>…</p>}>
        <Late />
      </Suspense>
    </main>
  );
}
