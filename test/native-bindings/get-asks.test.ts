// Who is asked about a head may have the request stopped meanwhile: what it says then is no answer any more.
import t from 'tap';
import type { GetHow, GetMemory } from '../../native-bindings/get-threads.js';
import { serve, start, target, theThreads, usual } from './get-links.js';

const content = Buffer.alloc(100_000, 'content ');

t.test('stopped while it is asked', async (t) => {
  const { route } = await serve(t, 'plain', ({ socket }) => socket.write(usual(content)));
  const file = target(t, content.length);
  const buffer = Buffer.alloc(128 * 1024);
  const memory: GetMemory = {
    buffer,
    contentBytes: buffer.length,
    progress: new Float64Array(1),
    slot: 0,
  };
  for (const how of [{}, undefined]) {
    const ask = (): GetHow | undefined => {
      theThreads().stop(got.id);
      return how;
    };
    const got = start(route, { file: file.fd, bytes: content.length, memory, ask });
    t.match(await got.ended, { outcome: 'stopped', at: 0 });
  }
  t.ok(file.content().equals(Buffer.alloc(content.length, 0xff)), 'nothing is written');
});
