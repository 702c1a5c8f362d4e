// What plain Lambda cannot do, in one app: WebSockets, server-sent events for as long as somebody
// listens, and uploads and downloads of any size. Node's own HTTP server, and `ws`.
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { WebSocketServer } = require('ws');

const page = readFileSync(path.join(__dirname, 'index.html'));

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://app');
  switch (`${request.method} ${pathname}`) {
    case 'GET /health':
      return response.end('ok');
    case 'GET /':
      return response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page);
    case 'GET /events':
      return events(request, response);
    case 'POST /upload':
    case 'PUT /upload':
      return upload(request, response);
    case 'GET /download':
      return download(Number(searchParams.get('bytes') ?? 1 << 20), response);
    default:
      response.statusCode = 404;
      return response.end('not found\n');
  }
});

/** The time, each second, until the client goes: then its connection to this app is closed as well. */
function events(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  const tell = () => response.write(`data: ${new Date().toISOString()}\n\n`);
  const timer = setInterval(tell, 1000);
  response.on('close', () => {
    clearInterval(timer);
    listeners.delete(response);
  });
  listeners.add(response);
  tell();
}
const listeners = new Set();

/** Reads a body as it comes, keeps nothing of it, and says what it was. */
async function upload(request, response) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ bytes, sha256: hash.digest('hex') }));
}

/** Makes a body while it is read: a client that reads slowly slows this down. */
async function download(bytes, response) {
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes });
  const chunk = Buffer.alloc(64 << 10, 'x');
  for (let left = bytes; left > 0 && !response.destroyed; left -= chunk.length) {
    if (!response.write(left < chunk.length ? chunk.subarray(0, left) : chunk)) {
      await new Promise((done) => response.once('drain', done).once('close', done));
    }
  }
  response.end();
}

// Says back what it hears. Each instance has its own clients: to tell all, put a broker between.
const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});

// Node ends an upload after five minutes; the router has bounds of its own.
server.requestTimeout = 0;
server.listen(process.env.PORT ?? 3001, '127.0.0.1');

// The environment goes away: clients come back to another by themselves.
process.on('SIGTERM', () => {
  for (const socket of sockets.clients) socket.close(1012, 'restarting');
  for (const response of listeners) response.end();
  server.close();
});
