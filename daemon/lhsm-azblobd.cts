#!/usr/bin/env node
// The daemon's entry. libuv reads UV_THREADPOOL_SIZE when its pool is first used, and loading ES modules uses it: so
// this file is CommonJS and sets it before it loads anything.
const { availableParallelism } = process.getBuiltinModule('node:os');
// A sixth of it may read files, a sixth write them: four of each for every transfer worker.
process.env['UV_THREADPOOL_SIZE'] ??= String(Math.max(64, 24 * Math.min(16, availableParallelism() - 1)));
void import('./main.js');
