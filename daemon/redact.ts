// Takes secrets out of text before it leaves the process: log lines, admin API, errors for people.
// It knows secrets by their shape, so it also catches those that an SDK's message quotes.

const HIDDEN = '[redacted]';

const patterns: readonly [RegExp, string][] = [
  // A SAS, in a URL or alone; `sig` may be escaped within JSON or another URL. No quote of JSON is ever eaten.
  [
    /([?&;"' (>[{,:]|%3F|%26|%2526|\\u0026|^)(sig|skoid|sktid)(=|%3D|%253D)(?:'[^'"\\]*'|[^&\s"'<>\\;,)\]}]+)/gim,
    `$1$2$3${HIDDEN}`,
  ],
  // Connection strings, query strings and headers.
  [
    /\b(AccountKey|SharedAccessKey|SharedAccessSignature|client_secret|client_assertion|access_token|refresh_token|password)\s*=\s*[^;\s"'<>\\]+/gi,
    `$1=${HIDDEN}`,
  ],
  // Headers by name, and fields of JSON: `client-secret: …`, `Signature=…`, `{"sig":"…"}`.
  [
    /\b(client[-_]?secret|client[-_]?assertion|account[-_]?key|access[-_]?token|refresh[-_]?token|id[-_]?token|signature|password)(\s*[:=]\s*(?:'|\\"|"(?=[\w+/%~.-]))?)(?!\[redacted\])[^\s"',;&<>\\]+/gi,
    `$1$2${HIDDEN}`,
  ],
  [
    /((\\?")(?:sig|client[-_]?secret|client[-_]?assertion|account[-_]?key|access[-_]?token|refresh[-_]?token|id[-_]?token|signature|password)\2\s*:\s*\2)[^"\\]+/gi,
    `$1${HIDDEN}`,
  ],
  // The service quotes a signature that it does not take.
  [/(signature\b[^'"]{0,60}['"])[A-Za-z0-9+/%]{6,}={0,2}(?=['"])/gi, `$1${HIDDEN}`],
  [/\b(Bearer)\s+[\w.~+/=-]{8,}/gi, `$1 ${HIDDEN}`],
  [/\b(SharedKey(?:Lite)?\s+[\w-]+:)[\w+/=]+/g, `$1${HIDDEN}`],
  // JSON Web Tokens, and account keys (64 bytes in base64) wherever they stand.
  [/\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*/g, HIDDEN],
  [/(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==/g, HIDDEN],
];

/** In whatever one of the patterns fits: most lines of the log have nothing of it, and one look is cheaper than nine. */
const somethingOfAll = /sig|skoid|sktid|key|secret|assertion|token|password|bearer|eyJ|==/i;

/** The text with every secret replaced that can be recognised. */
export function redact(text: string): string {
  if (!somethingOfAll.test(text)) return text;
  let clean = text;
  for (const [pattern, replacement] of patterns) clean = clean.replaceAll(pattern, replacement);
  return clean;
}

const secretName =
  /^(?:authorization|x-ms-copy-source-authorization|account-?key|sas|sas-?token|signature|sig|secret|client-?secret|password|connection-?string|access-?token|token)$/;

/** The names that were asked for: the log's lines have the same few over and over. */
const knownNames = new Map<string, boolean>();
const MAX_KNOWN_NAMES = 1000;

/** Whether the value under this name must not be shown, whatever it is. */
export function isSecretName(name: string): boolean {
  let isSecret = knownNames.get(name);
  if (isSecret === undefined) {
    const words = name.replaceAll('_', '-').replaceAll(/([a-z])([A-Z])/g, '$1-$2');
    isSecret = secretName.test(words.toLowerCase());
    if (knownNames.size < MAX_KNOWN_NAMES) knownNames.set(name, isSecret);
  }
  return isSecret;
}

export { HIDDEN as REDACTED };
