// The folder that belongs to a mount below state_dir and run_dir: agent, admin socket and command line must agree.
import path from 'node:path';

/** The mount's path as systemd escapes it (`systemd-escape --path`): `/mnt/my-fs` → `mnt-my\x2dfs`. */
export function escapeMount(mount: string): string {
  const parts = path.resolve(mount).split('/').filter(Boolean);
  if (parts.length === 0) return '-';
  const escaped = [...Buffer.from(parts.join('/'))].map((byte, at) => {
    const char = String.fromCharCode(byte);
    if (char === '/') return '-';
    if (/[A-Za-z0-9:_]/.test(char) || (char === '.' && at > 0)) return char;
    return `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return escaped.join('');
}

/** The admin API's socket of the daemon that serves `mount`. */
export function adminSocket(runDir: string, mount: string): string {
  return path.join(runDir, escapeMount(mount), ADMIN_SOCKET);
}

/** Its name within the mount's folder. */
export const ADMIN_SOCKET = 'admin.sock';
