// Passes an HTTP request on to another server, and its answer back. The proxies in front of Azurite call it.
import { request as ask, type IncomingMessage, type ServerResponse } from 'node:http';

/** A request or an answer that breaks off breaks off at the other end, too. */
export function passOn(target: URL, request: IncomingMessage, response: ServerResponse): void {
  const onward = ask({
    host: target.hostname,
    port: target.port,
    path: request.url,
    method: request.method,
    // As sent: keys of metadata keep their case.
    headers: request.rawHeaders,
  });
  onward.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
    answer.pipe(response);
    answer.on('error', () => request.socket.destroy());
  });
  onward.on('error', () => request.socket.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}
