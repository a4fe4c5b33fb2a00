/** The body of every refusal of the API server. */
export interface Status {
  readonly reason?: string;
  readonly message?: string;
  readonly code?: number;
  readonly details?: { readonly retryAfterSeconds?: number };
}

/** For answers that carry no reason: a proxy's, or the API server's own while it starts. */
const reasonOfStatus: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/**
 * A request that was not carried out, or of which that is not known. `code` is the API's own reason (NotFound, Conflict,
 * AlreadyExists, Invalid, Expired, …). With `status` 0 the API server gave no answer (`Timeout`, `ConnectionFailed`): a write may
 * then have been carried out all the same.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;
  readonly retryAfterSeconds?: number;

  constructor(status: number, code: string, message: string, options?: ErrorOptions & { retryAfterSeconds?: number }) {
    super(message, options);
    this.status = status;
    this.code = code;
    if (options?.retryAfterSeconds !== undefined) this.retryAfterSeconds = options.retryAfterSeconds;
  }

  static fromStatus(httpStatus: number, status: Status, retryAfterSeconds?: number): ApiError {
    const code = status.reason || reasonOfStatus[httpStatus] || 'Unknown';
    const wait = retryAfterSeconds ?? status.details?.retryAfterSeconds;
    const message = status.message || `the API server answered ${httpStatus}`;
    return new ApiError(httpStatus, code, message, wait === undefined ? {} : { retryAfterSeconds: wait });
  }
}

const hasCode = (error: unknown, code: string) => error instanceof ApiError && error.code === code;

export const isNotFound = (error: unknown) => hasCode(error, 'NotFound');

/** The object changed since it was read, or it is not the one (UID, resourceVersion) that the request named. */
export const isConflict = (error: unknown) => hasCode(error, 'Conflict');

export const isAlreadyExists = (error: unknown) => hasCode(error, 'AlreadyExists');

/** Refused for its content: the schema, a CEL rule, or the `test` operation of a JSON patch. */
export const isInvalid = (error: unknown) => hasCode(error, 'Invalid');

/** The resourceVersion or the continue token is older than what the server remembers: list again. */
export const isExpired = (error: unknown) => error instanceof ApiError && error.status === 410;

/** The API server gave no answer: it is not known whether a write was carried out. */
export const isUnanswered = (error: unknown) => error instanceof ApiError && error.status === 0;
