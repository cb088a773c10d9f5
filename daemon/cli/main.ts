#!/usr/bin/env node
// The executable `lhsm-azblob`: run.ts with the process's own streams and signals.
import { realClock } from './io.js';
import { run } from './run.js';

const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort();
});
// Whoever reads us may stop reading: `lhsm-azblob metrics | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  stop.abort();
});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  cwd: () => process.cwd(),
  raw: (bytes) =>
    new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => {
        if (!error) resolve();
        else {
          stop.abort();
          reject(error);
        }
      });
    }),
  columns: () => process.stdout.columns || 80,
  clock: realClock,
  terminal: process.stdout.isTTY,
  signal: stop.signal,
});
