export default {
  // A server with what it needs and nothing else: 40 MB instead of 300.
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  // The extension compresses.
  compress: false,
  // Only /tmp can be written to in Lambda: what is cached at run time stays in memory.
  experimental: { isrFlushToDisk: false },
};
