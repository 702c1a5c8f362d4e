// The router itself reads what the constructs set. It is built by `cargo build`.
const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { existsSync } = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const test = require('node:test');
const { setTimeout } = require('node:timers/promises');
const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecs = require('aws-cdk-lib/aws-ecs');
const lambda = require('aws-cdk-lib/aws-lambda');
const { EcsConstruct } = require('..');
const { stage, pair, listener, template, only, environment } = require('./stage');

const target = path.join(__dirname, '../../../target');
const program = ['release', 'debug']
  .map((it) => path.join(target, it, 'lambda-dispatch'))
  .find(existsSync);
const skip = program ? false : 'build it first: cargo build -p lambda-dispatch';
const FUNCTION = 'arn:aws:lambda:eu-west-1:123456789012:function:shop:live';

function ask(variables, form) {
  const env = { ...variables, LAMBDA_DISPATCH_POOL_FUNCTION: FUNCTION };
  return JSON.parse(execFileSync(program, ['check', form], { env, encoding: 'utf8' }));
}
const check = (router) => ask(environment(template(pair(router).stack)), '--json');

test('the router understands every variable, and takes none from a default', { skip }, () => {
  const { values } = check((stack, vpc) => ({
    httpsListener: listener(stack, vpc),
    slots: 20,
    accessLog: true,
  }));
  const taken = Object.entries(values)
    .filter(([, it]) => /environment|LAMBDA_DISPATCH_/.test(it.origin))
    .map(([name, it]) => [name, it.value]);
  assert.deepEqual(Object.fromEntries(taken), {
    'listen.admin': '0.0.0.0:5005',
    'pool.function': FUNCTION,
    'pool.slots': '20',
    'pool.instances_max': '100',
    'timeouts.queue': '55s',
    'timeouts.first_byte': '55s',
    'timeouts.drain': '110s',
    'timeouts.drain_delay': '10s',
    'log.format': 'json',
    'log.access': '-',
    'log.access_format': 'json',
  });
});

test('the router starts with a short drain', { skip }, () => {
  for (const seconds of [0, 5, 10]) {
    const { values } = check({ drain: cdk.Duration.seconds(seconds) });
    const said = ['timeouts.drain', 'timeouts.drain_delay'].map((it) => values[it].value);
    assert.deepEqual(said, [`${seconds}s`, `${seconds}s`]);
  }
});

test("the router hears the originals' extensions when they are allowed", { skip }, () => {
  const { values } = check({ originalExtensions: true });
  assert.equal(values['listen.wire_v1'].value, 'private');
  assert.equal(values['listen.allow_plaintext_control'].value, 'true');
});

test('the router knows that a network load balancer passes on what clients claim', { skip }, () => {
  const { values } = check({ createNetworkLoadBalancer: true });
  const { 'listen.trusted_proxies': believed, 'limits.connections_per_client': share } = values;
  assert.equal(believed.value, 'none');
  assert.equal(share.value, values['limits.connections'].value);
});

test("the ports are the router's own", { skip }, () => {
  const { values } = check({});
  assert.match(values['listen.http'].value, /:5001$/);
  assert.match(values['listen.control'].value, /:5004$/);
});

test("the program knows the container's health check", { skip }, () => {
  const of = template(pair({}).stack);
  const [task] = Object.values(of.findResources('AWS::ECS::TaskDefinition'));
  const [, file, ...words] = task.Properties.ContainerDefinitions[0].HealthCheck.Command;
  assert.equal(path.basename(file), path.basename(program));
  // Nobody listens here; what is wanted is that it is asked where the task's router would be.
  const env = { ...environment(of), LAMBDA_DISPATCH_POOL_FUNCTION: FUNCTION };
  const ended = spawnSync(program, words, { env, encoding: 'utf8' });
  assert.equal(ended.status, 1);
  assert.match(ended.stderr, /127\.0\.0\.1:5005/);
});

test("the load balancer's probes reach our own demo app", { skip }, async () => {
  const { stack, service } = pair({ demoAppImage: ecs.ContainerImage.fromRegistry('demo') });
  assert.ok(service.targetGroupDemoApp);
  const of = template(stack);
  const { HealthCheckPath: at } = only(of, 'AWS::ElasticLoadBalancingV2::TargetGroup');
  const port = await free();
  const env = { ...environment(of, 1), LAMBDA_DISPATCH_PORT: String(port) };
  // As the image's entry point is.
  const app = spawn(program, ['__demo-app'], { env, stdio: 'inherit' });
  try {
    // An address of this machine that one who listens on loopback alone does not have.
    const health = `http://127.0.0.2:${port}${at}`;
    const { status } = await until(() => fetch(health).catch(() => undefined));
    assert.equal(status, 200);
  } finally {
    app.kill();
  }
});

test('the role is what the router says it needs', { skip }, () => {
  const { stack, vpc } = stage();
  new EcsConstruct(stack, 'Router', {
    vpc,
    lambdaFunction: lambda.Function.fromFunctionArn(stack, 'Shop', FUNCTION),
    functionSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-shop'),
  });
  const of = template(stack);
  const policies = Object.values(of.findResources('AWS::IAM::Policy')).map((it) => it.Properties);
  const given = policies.find((it) =>
    JSON.stringify(it.Roles).includes('EcsTaskRole'),
  ).PolicyDocument;
  const needed = ask(environment(of), '--iam');
  for (const statement of needed.Statement) statement.Resource = statement.Resource[0];
  assert.deepEqual(given, needed);
});

/** A port that nobody listens at. */
async function free() {
  const server = net.createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** What `look` sees at last. */
async function until(look) {
  for (let tries = 0; tries < 500; tries++) {
    const seen = await look();
    if (seen) return seen;
    await setTimeout(20);
  }
  throw new Error('not within 10 s');
}
