// An HTTP proxy in front of Azurite that holds the requests it is told to hold, until it is opened: tests keep a job under way
// with it, with no timing involved, while the job's own documents go through.
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { passOn } from './pass-on.js';

export interface HoldingProxy {
  readonly port: number;
  /** From now on requests that fit wait, before anything is done. */
  hold(fits: (request: IncomingMessage) => boolean): void;
  /** Lets what waits and what comes pass. */
  open(): void;
  /** Forgets what waits: whoever asked is dead. */
  drop(): void;
  /** Resolves when at least so many requests wait. */
  held(requests: number): Promise<void>;
  stop(): Promise<void>;
}

/** `url` is the server's, its path is of no account. */
export async function startHoldingProxy(url: string): Promise<HoldingProxy> {
  const target = new URL(url);
  let fits: (request: IncomingMessage) => boolean = () => false;
  let waiting: (() => void)[] = [];
  let watchers: { readonly requests: number; readonly tell: () => void }[] = [];

  const tellWatchers = (): void => {
    for (const { requests, tell } of watchers) if (waiting.length >= requests) tell();
    watchers = watchers.filter(({ requests }) => waiting.length < requests);
  };
  const server = createServer((request, response) => {
    const pass = (): void => {
      passOn(target, request, response);
    };
    if (!fits(request)) {
      pass();
      return;
    }
    waiting.push(pass);
    tellWatchers();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: HoldingProxy = {
    port: (server.address() as AddressInfo).port,
    hold: (which) => {
      fits = which;
    },
    open: () => {
      fits = () => false;
      const passes = waiting;
      waiting = [];
      for (const pass of passes) pass();
    },
    drop: () => {
      waiting = [];
    },
    held: (requests) =>
      new Promise((resolve) => {
        watchers.push({ requests, tell: resolve });
        tellWatchers();
      }),
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return proxy;
}
