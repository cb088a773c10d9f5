// Imports one blob as a symbolic link, whose target is the blob's body. import-item.ts calls it.
import { applyAttributes } from './apply-attributes.js';
import { attributeCalls, fromService, itemError, type Item } from './item-tools.js';
import { placeItem } from './place-item.js';

/** PATH_MAX without its NUL. */
const MAX_TARGET_BYTES = 4095;

export async function importSymlink(item: Item): Promise<void> {
  const { blob, tools, calls, lustre, attributes } = item;
  const { uid, gid, mtimeNs } = attributes;
  const wanted = { uid, gid, mode: undefined, mtimeNs };
  if (!tools.spec.attributesOnly) checkSize(item, blob.sizeBytes);
  let reading: Promise<Buffer> | undefined;
  const target = (): Promise<Buffer> => (reading ??= readTarget(item));
  await placeItem(item, {
    wanted,
    make: async (path) => {
      await calls.symlink(await target(), path);
      try {
        await calls.lchown(path, uid, gid);
        await lustre((fs) => fs.setMtimePath(path, mtimeNs));
      } catch (error) {
        await calls.unlink(path).catch(() => undefined);
        throw error;
      }
    },
    compare: async (found) => {
      const wantedTarget = await target();
      const sameTarget = found.kind === 'symlink' && found.target.equals(wantedTarget);
      return { kind: 'symlink', sameVersion: false, sameTarget };
    },
    own: async (found) => {
      if (found.kind !== 'symlink' || found.stat.ctimeNs < tools.startedNs) return undefined;
      return found.target.equals(await target()) ? 'finish' : undefined;
    },
    finish: async (found, path) => {
      await applyAttributes(attributeCalls(item), path, found.stat, wanted, {});
    },
    imported: () => undefined,
  });
}

function refuse({ blob }: Item, why: string): never {
  throw itemError(
    'SYMLINK_TARGET',
    `The symbolic link ${blob.name} has no target that can be: ${why}.`,
    'EINVAL',
  );
}

function checkSize(item: Item, sizeBytes: number): void {
  if (sizeBytes === 0) refuse(item, 'it is empty');
  if (sizeBytes > MAX_TARGET_BYTES) refuse(item, `it has ${sizeBytes} bytes, 4,095 are allowed`);
}

async function readTarget(item: Item): Promise<Buffer> {
  const { blob, tools, signal } = item;
  const { container } = tools;
  const body = await fromService(blob, () =>
    container.readSmall(blob.name, MAX_TARGET_BYTES, blob.etag, signal),
  );
  checkSize(item, body.length);
  if (body.includes(0)) refuse(item, 'it holds a NUL byte');
  return body;
}
