// One HTTP request for the tests of control/, over TCP or a unix socket.
import { request } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly type: string | undefined;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly body: unknown;
}

/** `where` is `host:port` or a socket's path. */
export function ask(where: string, method: string, path: string, body?: string): Promise<Reply> {
  const target = where.startsWith('/')
    ? { socketPath: where }
    : {
        host: where.slice(0, where.lastIndexOf(':')).replaceAll(/[[\]]/g, ''),
        port: where.split(':').at(-1),
      };
  return new Promise((resolve, reject) => {
    const sent = request({ ...target, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        let parsed: unknown;
        try {
          parsed = JSON.parse(text);
        } catch {
          // Not JSON: undefined.
        }
        const type = response.headers['content-type'];
        resolve({ status: response.statusCode ?? 0, type, text, body: parsed });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
