const express = require('express');

const app = express();

// Asked until it answers: then the instance is ready.
app.get('/health', (_, response) => response.send('ok'));

app.get('/', (_, response) => response.type('html').send('<h1>A page</h1>'));

// Compressed by the extension for those who ask.
app.get('/items', (_, response) => response.json(Array(1000).fill({ name: 'item' })));

// Streamed: a body of any size takes no memory.
app.post('/upload', async (request, response) => {
  let bytes = 0;
  for await (const chunk of request) bytes += chunk.length;
  response.json({ bytes });
});

// Each event is sent when it is there.
app.get('/events', async (_, response) => {
  response.type('text/event-stream');
  for (let count = 0; count < 2; count++) {
    response.write(`data: ${count}\n\n`);
    await new Promise((done) => setTimeout(done, 2000));
  }
  response.end();
});

const server = app.listen(process.env.PORT ?? 3001, '127.0.0.1');
// Node ends an upload after five minutes; the router has bounds of its own.
server.requestTimeout = 0;

// The environment goes away: finish what there is.
process.on('SIGTERM', () => server.close());
