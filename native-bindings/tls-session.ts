// TLS over memory: ciphertext in, ciphertext out, by the OpenSSL that is part of Node. The transfer plane's connections use
// it in place of node:tls, which hands content over 16 KiB at a time, copied three times. The work is done in tls-session.c,
// where the addon can be had.
import { isIP } from 'node:net';
import tls from 'node:tls';
import { usualAuthorities } from './authorities.js';
import { wireAddon } from './wire-addon.js';

/** What tls-session.c adds to the addon. */
export interface TlsFunctions {
  context(
    pems: readonly string[],
    hasSystem: boolean,
    ciphers: string,
    suites: string,
    least: number,
    most: number,
  ): unknown;
  open(context: unknown, host: string, isAddress: boolean, ticket: Uint8Array | undefined): unknown;
  read(
    session: unknown,
    state: Uint32Array,
    cipher: Uint8Array,
    from: number,
    to: number,
    into: Uint8Array,
  ): number;
  write(session: unknown, state: Uint32Array, plain: Uint8Array, out: Uint8Array): number;
  keep(session: unknown, cipher: Uint8Array, from: number, to: number): void;
  drain(session: unknown): Buffer;
  ticket(session: unknown): Buffer;
  free(session: unknown): void;
}

/** Places in the addon's `state`. */
const [CONSUMED, SPILLED, ESTABLISHED, CLOSED, TICKET, STATES] = [0, 1, 2, 3, 4, 5];

/** As they go over the wire (RFC 8446, 4.2.1). */
const versions = { TLSv1: 0x0301, 'TLSv1.1': 0x0302, 'TLSv1.2': 0x0303, 'TLSv1.3': 0x0304 } as const;

/** Content of one record, at most (RFC 8446, 5.1). */
const RECORD_BYTES = 16 * 1024;
/** What a record has beside its content, at most: the header, an explicit nonce, MAC and padding of the old ciphers. */
const RECORD_OVERHEAD_BYTES = 96;

/** What sessions have in common: whom to trust, versions, ciphers. */
export interface TlsContext {
  readonly handle: unknown;
}

/**
 * Trusts what node:tls would: the certificates of `ca` (PEM), in each text up to the first that cannot be read, or else
 * those that are Node's usual ones; has its versions and ciphers. Undefined where there is no addon.
 * @throws an Error with OpenSSL's reason when there is no certificate, or ciphers are of no use.
 */
export function tlsContext(ca: readonly string[] | undefined): TlsContext | undefined {
  const known = wireAddon();
  if (!known) return undefined;
  const { pems, system } = ca === undefined ? usualAuthorities() : { pems: ca, system: false };
  const all = tls.DEFAULT_CIPHERS.split(':');
  const isSuite = (cipher: string): boolean => cipher.startsWith('TLS_');
  const ciphers = all.filter((cipher) => !isSuite(cipher));
  const suites = all.filter(isSuite);
  // As node:tls: a version without any cipher is none.
  const least = ciphers.length === 0 ? 'TLSv1.3' : tls.DEFAULT_MIN_VERSION;
  const most = suites.length === 0 ? 'TLSv1.2' : tls.DEFAULT_MAX_VERSION;
  return {
    handle: known.context(pems, system, ciphers.join(':'), suites.join(':'), versions[least], versions[most]),
  };
}

/** Whom a certificate must name, and whether that is an address, as the addon takes them. */
export function expectedOf(host: string): [host: string, isAddress: boolean] {
  // A name's root dot stands in no certificate, and not in SNI (RFC 6066, 3).
  return [host.replace(/\.$/, ''), isIP(host) !== 0];
}

/** The client's end of one TLS connection. It owns no socket: whoever has one carries the ciphertext. */
export class TlsSession {
  readonly #addon: TlsFunctions;
  /** What C knows it by: a thread that takes a body is given that. */
  readonly handle: unknown;
  readonly #state = new Uint32Array(STATES);

  /**
   * @param host whom the certificate must name: a DNS name or an address.
   * @param ticket what `ticket` gave on an earlier connection to the same host.
   * @throws TypeError for a host that cannot be one; an Error with OpenSSL's reason.
   */
  constructor(context: TlsContext, host: string, ticket?: Uint8Array) {
    const known = wireAddon();
    if (!known) throw new Error('the addon that made the context is gone');
    this.#addon = known;
    this.handle = known.open(context.handle, ...expectedOf(host), ticket);
  }

  /**
   * Takes ciphertext, from `from` to `to` of `cipher`, until it is used up (`consumed`) or `into` is full, which must not be
   * empty; answers the bytes in `into`. The first call, without any, begins the handshake, later ones carry it on: look
   * at `drain` after each, also when it throws.
   * @throws an Error whose code is Node's: of a certificate that is not trusted (CERT_HAS_EXPIRED, …, HOSTNAME_MISMATCH), or
   * ERR_SSL_ and OpenSSL's reason. Nothing can be done with the session then.
   */
  read(cipher: Uint8Array, from: number, to: number, into: Uint8Array): number {
    return this.#addon.read(this.handle, this.#state, cipher, from, to, into);
  }

  /** Bytes of ciphertext that the last `read` has taken. */
  get consumed(): number {
    return this.#state[CONSUMED] ?? 0;
  }

  /** Whether the handshake is over: the peer is who it should be, and `write` may be called. */
  get established(): boolean {
    return this.#state[ESTABLISHED] === 1;
  }

  /** Whether the peer has said that there is no more. */
  get closed(): boolean {
    return this.#state[CLOSED] === 1;
  }

  /**
   * Encrypts all of `plain` to the beginning of `out`, which `encryptedBytes` says the size of; answers the bytes there.
   * @throws as `read`.
   */
  write(plain: Uint8Array, out: Uint8Array): number {
    return this.#addon.write(this.handle, this.#state, plain, out);
  }

  /** Has the next read begin with that ciphertext, which is copied. */
  keep(cipher: Uint8Array, from: number, to: number): void {
    this.#addon.keep(this.handle, cipher, from, to);
  }

  /** What is to be sent now, before anything that is written later: of the handshake, an alert. */
  drain(): Buffer | undefined {
    if (this.#state[SPILLED] === 0) return undefined;
    this.#state[SPILLED] = 0;
    return this.#addon.drain(this.handle);
  }

  /** What shortens the handshake of the next connection to this host, when there is a new one since the last call. */
  ticket(): Buffer | undefined {
    if (this.#state[TICKET] === 0) return undefined;
    this.#state[TICKET] = 0;
    return this.#addon.ticket(this.handle);
  }

  /** Gives its memory back, some 50 KiB, before the garbage collector would. Nothing may be called afterwards. */
  free(): void {
    this.#addon.free(this.handle);
  }
}

/** Room that so many bytes need when they are encrypted. */
export function encryptedBytes(plainBytes: number): number {
  return plainBytes + (Math.floor(plainBytes / RECORD_BYTES) + 1) * RECORD_OVERHEAD_BYTES;
}
