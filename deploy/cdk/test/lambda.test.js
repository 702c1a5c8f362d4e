const assert = require('node:assert/strict');
const test = require('node:test');
const cdk = require('aws-cdk-lib');
const lambda = require('aws-cdk-lib/aws-lambda');
const { LambdaConstruct } = require('..');
const { stage, pair, template, only, ingress } = require('./stage');

function one(props) {
  const { stack, vpc, dockerImage } = stage();
  const app = new LambdaConstruct(stack, 'App', { vpc, dockerImage, ...props });
  return { app, of: template(stack) };
}

test('the defaults are those of the original', () => {
  const fn = only(one().of, 'AWS::Lambda::Function');
  assert.equal(fn.MemorySize, 192);
  assert.equal(fn.Timeout, 60);
  assert.deepEqual(fn.Architectures, ['arm64']);
  assert.equal(fn.PackageType, 'Image');
  assert.equal(fn.Environment.Variables.LAMBDA_DISPATCH_RUNTIME, 'current_thread');
  assert.equal(fn.VpcConfig.SubnetIds.length, 2);
});

test('what is given is taken', () => {
  const { of } = one({
    memorySize: 1024,
    timeout: cdk.Duration.minutes(15),
    architecture: lambda.Architecture.X86_64,
    environment: { LAMBDA_DISPATCH_PORT: '3000' },
    reservedConcurrentExecutions: 50,
  });
  const fn = only(of, 'AWS::Lambda::Function');
  assert.deepEqual(
    [fn.MemorySize, fn.Timeout, fn.Architectures, fn.ReservedConcurrentExecutions],
    [1024, 900, ['x86_64'], 50],
  );
  assert.deepEqual(fn.Environment.Variables, {
    LAMBDA_DISPATCH_RUNTIME: 'current_thread',
    LAMBDA_DISPATCH_PORT: '3000',
  });
});

test('a function without an image is refused, with what to give', () => {
  assert.throws(
    () => one({ dockerImage: undefined }),
    /App: dockerImage is not set.*fromImageAsset/s,
  );
});

test('a time-out that no instance can serve with is refused', () => {
  assert.throws(
    () => one({ timeout: cdk.Duration.seconds(3) }),
    /timeout is 3 s, must be 5 s to 900 s/,
  );
  assert.throws(() => one({ timeout: cdk.Duration.minutes(16) }), /timeout is 960 s/);
});

test('nobody may connect to the function', () => {
  assert.deepEqual(ingress(one().of, 'Instances of the function'), []);
});

test('a function without a way out reaches the router, and that alone', () => {
  const of = template(pair({}, { allowAllOutbound: false }).stack);
  const out = Object.values(of.findResources('AWS::EC2::SecurityGroupEgress')).map(
    (it) => it.Properties.FromPort,
  );
  assert.deepEqual(out, [5004]);
});

test('the role may run in a network and do nothing else', () => {
  const { of } = one();
  assert.deepEqual(Object.keys(of.findResources('AWS::IAM::Policy')), []);
  assert.match(
    JSON.stringify(only(of, 'AWS::IAM::Role').ManagedPolicyArns),
    /AWSLambdaVPCAccessExecutionRole/,
  );
});

test('SnapStart serves published versions through an alias', () => {
  const { app, of } = one({ snapStart: true });
  assert.deepEqual(only(of, 'AWS::Lambda::Function').SnapStart, { ApplyOn: 'PublishedVersions' });
  assert.equal(only(of, 'AWS::Lambda::Alias').Name, 'live');
  assert.ok(app.target instanceof lambda.Alias);
});

test('without SnapStart there is no alias to pay attention to', () => {
  const { app, of } = one();
  assert.equal(app.target, app.function);
  of.resourceCountIs('AWS::Lambda::Version', 0);
});
