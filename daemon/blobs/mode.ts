// Permissions in blob metadata and headers, in all the ways tools write them. attributes.ts calls it.

/** First decimal st_mode that is not just permission bits: S_IFIFO. */
const FIRST_ST_MODE = 0o10000;

/** `rwxr-xr-x`: sticky as t or T in the last place or behind it, set-id as s or S, `+` behind an access list. */
const symbolic = /^([r-])([w-])([xsS-])([r-])([w-])([xsS-])([r-])([w-])([xtT-])([tT]?)\+?$/;

function fromSymbolic(match: RegExpExecArray): number {
  const flags = match.slice(1);
  const at = (index: number): string => flags[index] ?? '';
  let mode = 0;
  for (let index = 0; index < 9; index += 1) {
    if (/[rwxst]/.test(at(index))) mode |= 0o400 >> index;
  }
  if (/s/i.test(at(2))) mode |= 0o4000;
  if (/s/i.test(at(5))) mode |= 0o2000;
  if (/t/i.test(at(8)) || at(9) !== '') mode |= 0o1000;
  return mode;
}

/**
 * The permission bits (07777) that a text says; undefined when it says none. Three or four octal digits are
 * octal, so that `4755`, which we write for lossless archives, is not taken for the st_mode of a FIFO; larger decimals
 * are an st_mode, as AzCopy's standard style writes it. `octalOnly` is for the old key `perm`.
 */
export function parseMode(text: string, octalOnly = false): number | undefined {
  if (/^[0-7]{3,4}$/.test(text) || (octalOnly && /^0?[0-7]{1,4}$/.test(text))) return parseInt(text, 8);
  if (octalOnly) return undefined;
  const match = symbolic.exec(text);
  if (match) return fromSymbolic(match);
  if (!/^\d{4,6}$/.test(text)) return undefined;
  const stMode = Number(text);
  // Seven file types have bits of their own (inode(7)); 16 bits in all.
  const type = stMode >> 12;
  return stMode >= FIRST_ST_MODE && [1, 2, 4, 6, 8, 10, 12].includes(type) ? stMode & 0o7777 : undefined;
}
