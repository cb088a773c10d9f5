// `lhsm-azblob jobs …`: what to do with jobs that have been started, on whichever node they run.
import type { Command } from 'commander';
import type { Io } from '../io.js';
import { addJobsCancel } from './jobs-cancel.js';
import { addJobsList } from './jobs-list.js';
import { addJobsLog } from './jobs-log.js';
import { addJobsShow } from './jobs-show.js';
import { addJobsWatch } from './jobs-watch.js';

export function addJobs(program: Command, io: Io): void {
  const group = program.command('jobs').description('list, show, watch and cancel import and export jobs');
  addJobsList(group, io);
  addJobsShow(group, io);
  addJobsWatch(group, io);
  addJobsCancel(group, io);
  addJobsLog(group, io);
}
