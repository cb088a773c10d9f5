// A small valid configuration for the tests of this folder.

export const ARCHIVE = `
[[archive]]
id = 1
container = "https://acct.blob.core.windows.net/cold"
credential = { type = "managed-identity" }
`;

export const MINIMAL = `mount = "/mnt/lustre"\n${ARCHIVE}`;

/** The error's message that a function throws; fails when it throws none. */
export function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error('nothing was thrown');
}
