// Numbers of the Lustre HSM interface, named as in lustre_user.h and lustreapi.h.

/** What the MDT asks a copytool to do (enum hsm_copytool_action). */
export const CopytoolAction = { NONE: 10, ARCHIVE: 20, RESTORE: 21, REMOVE: 22, CANCEL: 23 } as const;

/** What a user asks of the MDT (enum hsm_user_action). */
export const UserAction = { NONE: 1, ARCHIVE: 10, RESTORE: 11, RELEASE: 12, REMOVE: 13, CANCEL: 14 } as const;

/** Bits of a file's HSM state (enum hsm_states). */
export const HsmStateFlag = {
  EXISTS: 0x1,
  DIRTY: 0x2,
  RELEASED: 0x4,
  ARCHIVED: 0x8,
  NORELEASE: 0x10,
  NOARCHIVE: 0x20,
  LOST: 0x40,
} as const;

/** Flags of llapi_hsm_action_progress and _end. COMPLETED is set by `end` itself. */
export const ProgressFlag = { COMPLETED: 1, RETRY: 2 } as const;

/** Flags of a request and of a received action list. BLOCKING: somebody's open or read waits for it. */
export const RequestFlag = { FORCE: 1n, GHOST_COPY: 2n, BLOCKING: 4n } as const;

/** Progress of the action that a file is in (enum hsm_progress_states). */
export const ProgressState = { NONE: 0, WAITING: 1, RUNNING: 2, DONE: 3 } as const;

/** Flags of llapi_get_data_version: flush the clients' cached reads or writes first. */
export const DataVersionFlag = { FLUSH_READERS: 1n, FLUSH_WRITERS: 2n } as const;

/** The extent length that stands for the whole file. */
export const WHOLE_FILE = 0xffffffffffffffffn;

/** FIDs that one llapi_hsm_request takes: 24 + 32·n + data must stay below 1,706 bytes, more is E2BIG. */
export const MAX_REQUEST_FIDS = 52;

const actionNames = new Map<number, string>(
  Object.entries(CopytoolAction).map(([name, value]) => [value, name.toLowerCase()]),
);

/** The lower-case name of a copytool action, `unknown(N)` where there is none. */
export function actionName(action: number): string {
  return actionNames.get(action) ?? `unknown(${action})`;
}
