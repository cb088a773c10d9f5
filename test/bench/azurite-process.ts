// Starts Azurite in a child process for the benches.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface AzuriteProcess {
  readonly url: string;
  readonly connectionString: string;
  /** Holds the connection string; containers `archive` and `logs` are there. */
  readonly connectionStringFile: string;
  stop(): Promise<void>;
}

export async function startAzuriteProcess(): Promise<AzuriteProcess> {
  // Large files are kept in memory: the heap only holds their names, the buffers live outside of it.
  const child = fork(fileURLToPath(new URL('./azurite-child.js', import.meta.url)));
  const [message] = (await once(child, 'message')) as [Omit<AzuriteProcess, 'stop'>];
  return {
    ...message,
    stop: async () => {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
