// An HTTP proxy in front of Azurite that loses what it is told to lose: the request before anything is done, or the answer
// after everything is done.
import { once } from 'node:events';
import { createServer, request as ask, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Loss = 'request' | 'answer' | undefined;

export interface LossyProxy {
  /** As the server's, with the proxy's port. */
  readonly url: string;
  /** Asked for every request; `nothing` is lost at first. */
  lose: (request: IncomingMessage) => Loss;
  stop(): Promise<void>;
}

/** Loses the first request, or its answer, of this method and with this text in its URL. */
export function loseOnce(loss: Loss, method: string, text = ''): LossyProxy['lose'] {
  let left = 1;
  return (request) => {
    if (left === 0 || request.method !== method || !request.url?.includes(text)) return undefined;
    left -= 1;
    return loss;
  };
}

/** `url` is that of the server, with or without a path. */
export async function startLossyProxy(url: string): Promise<LossyProxy> {
  const target = new URL(url);
  const server = createServer((request, response) => {
    const loss = proxy.lose(request);
    if (loss === 'request') {
      request.socket.destroy();
      return;
    }
    const { method, headers } = request;
    const onward = ask({ host: target.hostname, port: target.port, path: request.url, method, headers });
    onward.on('response', (answer) => {
      if (loss === 'answer') {
        answer.resume().on('end', () => request.socket.destroy());
        return;
      }
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => request.socket.destroy());
    request.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy: LossyProxy = {
    url: `http://127.0.0.1:${port}${target.pathname}`,
    lose: () => undefined,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return proxy;
}
