// A thread of crc64.test.ts: takes the CRC64 of shared memory many times over and posts the results.
import { parentPort, workerData } from 'node:worker_threads';
import { crc64, crc64Combine, crc64Implementations, crc64With } from '../../native-bindings/crc64.js';

const { shared, rounds } = workerData as { shared: SharedArrayBuffer; rounds: number };
const bytes = new Uint8Array(shared);
const results = new Set<bigint>();
for (let round = 0; round < rounds; round += 1) {
  const split = (round * 997) % bytes.length;
  const [a, b] = [bytes.subarray(0, split), bytes.subarray(split)];
  results.add(crc64(b, crc64(a)));
  results.add(crc64Combine(crc64(a), crc64(b), b.length));
  for (const implementation of crc64Implementations()) results.add(crc64With(implementation, bytes));
}
parentPort?.postMessage([...results]);
