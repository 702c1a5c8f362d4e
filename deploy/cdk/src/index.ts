/**
 * CDK constructs for lambda-dispatch.
 *
 * `LambdaConstruct` is the function that holds your app and the extension, `EcsConstruct` the
 * router in front of it. The names of the original's newer construct are there too, so that its
 * users change one import.
 */
export * from './lambda';
export * from './ecs';
export * from './observe';
export * from './original';
