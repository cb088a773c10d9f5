#!/usr/bin/env node
// The daemon's entry. libuv reads UV_THREADPOOL_SIZE when its pool is first used, and loading ES modules uses it: so
// this file is CommonJS and sets it before it loads anything.
process.env['UV_THREADPOOL_SIZE'] ??= '64';
void import('./main.js');
