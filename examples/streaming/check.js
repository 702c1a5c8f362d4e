// Looks at the app from outside, through the router. Argument: its address, host:port.
const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const http = require('node:http');
const { WebSocket } = require('ws');

const address = process.argv[2];
const url = `http://${address}`;
const limit = (what, promise) =>
  Promise.race([
    promise,
    new Promise((_, refuse) =>
      setTimeout(() => refuse(new Error(`${what}: nothing for 30 s`)), 30_000).unref(),
    ),
  ]);

/** Messages of every kind and size come back as they were, while the socket stays open. */
async function webSocket() {
  const socket = new WebSocket(`ws://${address}/ws`);
  await new Promise((open, refuse) => socket.once('open', open).once('error', refuse));
  for (const sent of [
    'hello',
    '',
    Buffer.from([0, 255, 10]),
    Buffer.alloc(1 << 20, 'y'),
    'the end',
  ]) {
    const got = new Promise((done) =>
      socket.once('message', (data, binary) => done(binary ? data : data.toString())),
    );
    socket.send(sent);
    assert.deepEqual(await got, sent);
  }
  const closed = new Promise((done) => socket.once('close', done));
  socket.close(4000, 'enough');
  assert.equal(await closed, 4000, 'the app answers a close');
}

/** Two events, the second a second later, and then the client goes. */
async function events() {
  const response = await new Promise((got, refuse) =>
    http.get(`${url}/events`, got).on('error', refuse),
  );
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const times = [];
  for await (const chunk of response) {
    for (const [, time] of chunk.toString().matchAll(/data: (.*)\n\n/g))
      times.push(Date.parse(time));
    if (times.length >= 2) break;
  }
  assert.ok(times[1] - times[0] >= 900, `events are ${times[1] - times[0]} ms apart`);
}

/** 100 MB up, in chunks without a length: far beyond the 6 MB of an invoke. */
async function upload() {
  const chunk = Buffer.alloc(1 << 20, 'z');
  const count = 100;
  const hash = createHash('sha256');
  const got = await new Promise((done, refuse) => {
    const request = http
      .request(`${url}/upload`, { method: 'POST' }, (response) => {
        let text = '';
        response.on('data', (part) => (text += part)).on('end', () => done(JSON.parse(text)));
      })
      .on('error', refuse);
    (async () => {
      for (let i = 0; i < count; i++) {
        hash.update(chunk);
        if (!request.write(chunk)) await new Promise((drained) => request.once('drain', drained));
      }
      request.end();
    })();
  });
  assert.deepEqual(got, { bytes: count << 20, sha256: hash.digest('hex') });
}

/** And 100 MB down. */
async function download() {
  const bytes = 100_000_000;
  const response = await new Promise((got, refuse) =>
    http.get(`${url}/download?bytes=${bytes}`, got).on('error', refuse),
  );
  let read = 0;
  for await (const chunk of response) read += chunk.length;
  assert.equal(read, bytes);
}

(async () => {
  for (const [what, run] of Object.entries({ webSocket, events, upload, download })) {
    await limit(what, run());
    console.log(`streaming: ${what} is fine`);
  }
  // What nobody waits for any more must not be waited for here either.
  process.exit();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
