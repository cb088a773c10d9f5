// A worker thread of the transfer engine: takes commands in batches, answers in batches. worker-pool.ts starts it. No
// FFI here: libffi's addon does not survive the end of a worker.
import { parentPort, workerData } from 'node:worker_threads';
import type { Command, WorkerEvent, WorkerOptions } from './messages.js';
import { Outbox } from './outbox.js';
import { WorkerCore } from './worker-core.js';

const port = parentPort;
if (!port) throw new Error('worker/main.js is a worker thread, and was started as a program');

const outbox = new Outbox<WorkerEvent>((events) => {
  port.postMessage(events);
});
const core = new WorkerCore(workerData as WorkerOptions, (event) => {
  outbox.add(event);
});
port.on('message', (commands: readonly Command[] | 'close') => {
  if (commands === 'close') {
    void core.close().then(() => {
      outbox.flush();
      port.close();
    });
    return;
  }
  for (const command of commands) core.handle(command);
});
