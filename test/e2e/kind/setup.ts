import { afterEach } from 'vitest';
import { keepEvidence } from './evidence.ts';
import { readSite } from './site.ts';

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await keepEvidence(readSite().evidence, task.name).catch(console.error);
});
