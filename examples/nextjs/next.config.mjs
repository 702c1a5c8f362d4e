export default {
  // A server with what it needs and nothing else: 40 MB instead of 300.
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
  // The extension compresses.
  compress: false,
};
