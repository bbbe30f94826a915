// What supervisors, balancers and people ask: healthy, ready, alive. None of it takes a key. Pure.

import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject, ZodOpenApiResponseObject } from 'zod-openapi';
import { healthSchema, liveSchema, PATHS, readySchema } from '../contract.ts';
import { answerHeaders } from './answer.ts';

/** The paths that tell how the service is. */
export function healthPaths(): ZodOpenApiPathsObject {
  return {
    [PATHS.health]: { get: getHealth() },
    [PATHS.ready]: { get: getReady('ready') },
    [PATHS.live]: { get: getLive('live') },
    [PATHS.kserveLive]: { get: getLive('kserveLive') },
    [PATHS.kserveReady]: { get: getReady('kserveReady') },
  };
}

function getHealth(): ZodOpenApiOperationObject {
  const answer = (description: string): ZodOpenApiResponseObject => ({
    description,
    headers: answerHeaders,
    content: { 'application/json': { schema: healthSchema } },
  });
  return {
    operationId: 'health',
    tags: ['health'],
    summary: 'Is a model loaded?',
    responses: { 200: answer('Healthy.'), 503: answer('No model is loaded.') },
  };
}

function getReady(name: 'ready' | 'kserveReady'): ZodOpenApiOperationObject {
  const answer = (description: string): ZodOpenApiResponseObject => ({
    description,
    headers: answerHeaders,
    content: { 'application/json': { schema: readySchema } },
  });
  return {
    operationId: name,
    tags: ['health'],
    summary: 'May pictures be sent?',
    responses: {
      200: answer('Ready.'),
      503: answer('Loading or draining; or, at the balancer, no usable worker.'),
    },
  };
}

function getLive(name: 'live' | 'kserveLive'): ZodOpenApiOperationObject {
  return {
    operationId: name,
    tags: ['health'],
    summary: 'Is the process alive?',
    responses: {
      200: {
        description: 'It is.',
        headers: answerHeaders,
        content: { 'application/json': { schema: liveSchema } },
      },
    },
  };
}
