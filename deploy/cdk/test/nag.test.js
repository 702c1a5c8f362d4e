// Somebody else's judgement: the AWS Solutions rules of cdk-nag.
const assert = require('node:assert/strict');
const test = require('node:test');
const cdk = require('aws-cdk-lib');
const { Annotations, Match } = require('aws-cdk-lib/assertions');
const { AwsSolutionsChecks } = require('cdk-nag');
const { ObserveConstruct } = require('..');
const { pair, listener } = require('./stage');

// What it minds in the constructs, and why that stays.
const STAYS = {
  'App/LambdaExecutionRole AwsSolutions-IAM4':
    'AWS keeps the list of what a function in a VPC needs',
  'Router/EcsTaskRole AwsSolutions-IAM5': 'versions and aliases of one function',
  'Router/TaskDefinition AwsSolutions-IAM5': 'ecr:GetAuthorizationToken has no resources',
  'Router/TaskDefinition AwsSolutions-ECS2':
    'the variables are settings; there are no secrets among them',
  'Router/NetworkLoadBalancer AwsSolutions-ELB2':
    "access logs need a bucket, which is the user's to choose",
};

test('cdk-nag finds nothing but what is known', () => {
  const { stack, service } = pair((it, vpc) => ({
    httpsListener: listener(it, vpc),
    createNetworkLoadBalancer: true,
    accessLog: true,
  }));
  new ObserveConstruct(stack, 'Observe', { router: service, budgetPerHour: 1 });
  cdk.Aspects.of(stack).add(new AwsSolutionsChecks());
  const all = Annotations.fromStack(stack);
  const found = [...all.findError('*', Match.anyValue()), ...all.findWarning('*', Match.anyValue())]
    .map(
      (it) =>
        `${it.id.split('/').slice(2, 4).join('/')} ${String(it.entry.data).match(/AwsSolutions-\w+/)}`,
    )
    // The network and the load balancer are the test's own.
    .filter((it) => !/^(Vpc|Alb)\//.test(it));
  assert.deepEqual([...new Set(found)].sort(), Object.keys(STAYS).sort());
});
