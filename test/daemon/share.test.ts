// A share of libuv's threads.
import t from 'tap';
import type { Lustre } from '../../native-bindings/lustre.js';
import { Share, within } from '../../daemon/share.js';
import { Stop } from '../../daemon/stop.js';

t.test('so many at once, in the order of their coming, a failure frees its place', async (t) => {
  const share = new Share(2);
  const started: number[] = [];
  const finish: ((fail?: Error) => void)[] = [];
  const runs = [0, 1, 2, 3].map((n) =>
    share.run(
      () =>
        new Promise<void>((resolve, reject) => {
          started.push(n);
          finish[n] = (fail) => {
            if (fail) reject(fail);
            else resolve();
          };
        }),
    ),
  );
  t.same(started, [0, 1]);
  finish[1]?.(new Error('no'));
  await t.rejects(runs[1] ?? Promise.resolve(), { message: 'no' });
  t.same(started, [0, 1, 2]);
  finish[0]?.();
  await runs[0];
  t.same(started, [0, 1, 2, 3]);
  finish[2]?.();
  finish[3]?.();
  await Promise.all([runs[2], runs[3]]);
});

t.test('a file system within a share answers as itself, private state and all', async (t) => {
  class Fake {
    readonly #name = 'lustre';
    fsname(): string {
      return this.#name;
    }
    pathToFid(): Promise<string> {
      return Promise.resolve(this.#name);
    }
  }
  const shared = within(new Share(1), new Fake() as unknown as Lustre);
  t.equal(shared.fsname('/'), 'lustre');
  t.equal(await shared.pathToFid('/'), 'lustre');
});

t.test('who gives up waiting leaves the line', async (t) => {
  const share = new Share(1);
  let end = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    end = resolve;
  });
  const stop = new Stop();
  const first = share.run(() => held, stop);
  const second = share.run(() => t.fail('never begins') as never, stop);
  const third = share.run(() => Promise.resolve('third'));
  stop.abort();
  await t.rejects(second, { name: 'AbortError' });
  await t.rejects(
    share.run(() => t.fail('never begins') as never, stop),
    { name: 'AbortError' },
  );
  end();
  await first;
  t.equal(await third, 'third');
});
