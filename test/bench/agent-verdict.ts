// What the bench of the agent must show, apart from what it measures. agent.ts prints what is amiss and fails with it.

export interface AgentReport {
  readonly files: number;
  readonly lost: number;
  /** The daemon's resident memory: while the 5,000th file was archived, and when the last was restored. */
  readonly rssMiB: { readonly at5000: number; readonly atEnd: number };
  /**
   * Its descriptors (but sockets: the pool of connections comes and goes) and threads: while the 5,000th was archived, with
   * nothing to do after the last, and with nothing to do after all were restored.
   */
  readonly handles: { readonly at5000: number; readonly archived: number; readonly atEnd: number };
  readonly bigFile: { readonly gib: number; readonly peakRssMiB: number };
}

const MOST_GROWTH = 0.2;
const MOST_RSS_MB = 300;
const MB_PER_MIB = 1.048576;
/** Descriptors that Node may open for itself meanwhile. */
const SPARE_HANDLES = 4;

/** What is not as it must be, in words; empty when all is well. */
export function amiss({ lost, rssMiB, handles, bigFile }: AgentReport, violations: number): string[] {
  const growth = rssMiB.atEnd / rssMiB.at5000 - 1;
  const peakMb = bigFile.peakRssMiB * MB_PER_MIB;
  const found: [boolean, string][] = [
    [lost > 0, `${lost} files are lost`],
    [violations > 0, `liblustreapi was misused ${violations} times`],
    [growth > MOST_GROWTH, `the memory has grown by ${(growth * 100).toFixed(1)} %`],
    [peakMb > MOST_RSS_MB, `the large file took ${peakMb.toFixed(0)} MB of memory`],
    [
      handles.atEnd > Math.min(handles.at5000, handles.archived + SPARE_HANDLES),
      `descriptors and threads have grown: ${handles.at5000}, ${handles.archived}, ${handles.atEnd}`,
    ],
  ];
  return found.filter(([is]) => is).map(([, words]) => words);
}
