import { expect, test } from 'vitest';
import { admissionResponse, readEvictionRequest } from './admission-review.ts';

const request = {
  uid: 'question',
  resource: { group: '', version: 'v1', resource: 'pods' },
  subResource: 'eviction',
  namespace: 'default',
  name: 'web-1',
  operation: 'CREATE',
  dryRun: false,
  object: { kind: 'Eviction', apiVersion: 'policy/v1', metadata: { name: 'web-1', namespace: 'default' } },
};
const review = (change: object = {}) => ({ kind: 'AdmissionReview', request: { ...request, ...change } });

test('an eviction is read', () => {
  const read = { uid: 'question', namespace: 'default', name: 'web-1', dryRun: false };
  expect(readEvictionRequest(review())).toEqual(read);
});

test.each([
  ['by its query', { dryRun: true }],
  ['by its own options, as kubectl drain does', { object: { ...request.object, deleteOptions: { dryRun: ['All'] } } }],
])('a dry run is recognized %s', (_, change) => {
  expect(readEvictionRequest(review(change))?.dryRun).toBe(true);
});

test.each([
  ['nothing', undefined],
  ['a text', 'eviction'],
  ['no question', {}],
  ['a question about something else', review({ subResource: 'binding' })],
  ['a question about other objects', review({ resource: { resource: 'nodes' } })],
  ['a question about no pod', review({ name: undefined })],
  ['a question without a name of its own', review({ uid: 7 })],
])('%s is no question about an eviction', (_, body) => {
  expect(readEvictionRequest(body)).toBeUndefined();
});

test('a refusal is one that is tried again', () => {
  expect(admissionResponse('question', 'Not yet.')).toEqual({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid: 'question',
      allowed: false,
      status: { status: 'Failure', code: 429, reason: 'TooManyRequests', message: 'Not yet.' },
    },
  });
  expect(admissionResponse('question', undefined)).toMatchObject({ response: { uid: 'question', allowed: true } });
});
