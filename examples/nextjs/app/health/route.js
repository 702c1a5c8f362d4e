export const dynamic = 'force-dynamic';

// Asked until it answers: then the instance is ready.
export function GET() {
  return new Response('ok');
}
