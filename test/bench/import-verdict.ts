// What the import bench must show, and what of it a report does not. import.ts calls it.

export interface ImportReport {
  readonly blobs: number;
  readonly stubsPerSecond: number;
  readonly stubsPerSecondWithoutSimulator: number;
  readonly cpuMsPerStub: number;
  readonly simulatorMsPerStub: number;
  /** Blobs not imported, and sampled files with wrong content or attributes. */
  readonly wrong: number;
  /** By the number of blobs. */
  readonly peakRssMiB: Readonly<Record<string, number>>;
}

const WANTED_STUBS_PER_SECOND = 3000;
const MAX_GROWTH = 0.2;

/** In words; empty when all is as wanted. */
export function amissInImport(report: ImportReport): string[] {
  const amiss: string[] = [];
  if (report.wrong > 0) amiss.push(`${report.wrong} blobs are not imported, or not as they should be`);
  if (report.stubsPerSecondWithoutSimulator < WANTED_STUBS_PER_SECOND) {
    amiss.push(
      `${report.stubsPerSecondWithoutSimulator} stubs a second, ${WANTED_STUBS_PER_SECOND} are wanted`,
    );
  }
  const [few = 0, many = few] = Object.entries(report.peakRssMiB)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, mib]) => mib);
  if (many > few * (1 + MAX_GROWTH))
    amiss.push(`memory grows from ${few} to ${many} MiB with the number of blobs`);
  return amiss;
}
