import * as lambda from 'aws-cdk-lib/aws-lambda';

/**
 * The function behind a version or an alias, or itself. Asks what it has, not which class it is:
 * imported ones and `$LATEST` are of none that the CDK shows.
 *
 * @internal
 */
export function bareFunction(fn: lambda.IFunction): lambda.IFunction {
  const { lambda: own, version } = fn as { lambda?: lambda.IFunction; version?: unknown };
  // That of an alias is a version itself, that of a version its number.
  return own ?? (version as lambda.IVersion | undefined)?.lambda ?? fn;
}
