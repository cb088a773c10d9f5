// Differences of clocks and ages in words, for the checks.

/** `3 min 5 s ahead of`, `61 s behind` */
export function formatSkew(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const text = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${text} ${skewMs > 0 ? 'ahead of' : 'behind'}`;
}

/** `90 s`, `5 min`, `3 h`, `2 d` */
export function formatAge(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
