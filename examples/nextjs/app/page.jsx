// Rendered for each request.
export const dynamic = 'force-dynamic';

export default function Page() {
  return (
    <main>
      <h1>A page</h1>
      <p>Made at {new Date().toISOString()}</p>
      <a href="/slow">A slow one</a>
    </main>
  );
}
