const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const ec2 = require('aws-cdk-lib/aws-ec2');
const lambda = require('aws-cdk-lib/aws-lambda');
const sns = require('aws-cdk-lib/aws-sns');
const { ObserveConstruct } = require('..');
const { pair, listener, template } = require('./stage');

function alarms({ accessLog = false, attached = true, ...props } = {}) {
  const { stack, service } = pair((stack, vpc) => ({
    accessLog,
    httpsListener: attached ? listener(stack, vpc) : undefined,
  }));
  const topic = new sns.Topic(stack, 'Pager');
  const observe = new ObserveConstruct(stack, 'Observe', { router: service, topic, ...props });
  const of = template(stack);
  const made = Object.entries(of.findResources('AWS::CloudWatch::Alarm'));
  return {
    of,
    observe,
    made: made.map(([id, it]) => [id.replace(/^Observe|[0-9A-F]{8}$/g, ''), it.Properties]),
  };
}
const names = ({ made }) => made.map(([name]) => name).sort();

test('what Lambda, ECS and the load balancer measure is watched', () => {
  const it = alarms();
  assert.deepEqual(names(it), [
    'Errors',
    'FailedInvokes',
    'InvokeRate',
    'ResponseTime',
    'RouterCpu',
    'Throttles',
  ]);
  for (const [name, alarm] of it.made) {
    assert.equal(alarm.AlarmActions.length, 1, name);
    assert.equal(alarm.TreatMissingData, 'notBreaching', name);
  }
  it.of.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
});

test('what Lambda measures is read where it is, of versions and aliases from elsewhere too', () => {
  const arn = 'arn:aws:lambda:eu-west-1:123456789012:function:shop';
  const version = (stack) => lambda.Version.fromVersionArn(stack, 'Version', `${arn}:7`);
  const imported = {
    version,
    alias: (stack) =>
      lambda.Alias.fromAliasAttributes(stack, 'Alias', {
        aliasName: 'live',
        aliasVersion: version(stack),
      }),
    latest: (stack) => lambda.Function.fromFunctionArn(stack, 'Latest', arn).latestVersion,
  };
  for (const [what, lambdaFunction] of Object.entries(imported)) {
    const { stack, service } = pair((stack, vpc) => ({
      lambdaFunction: lambdaFunction(stack),
      functionSecurityGroup: new ec2.SecurityGroup(stack, 'Instances', { vpc }),
    }));
    new ObserveConstruct(stack, 'Observe', { router: service });
    const all = Object.values(template(stack).findResources('AWS::CloudWatch::Alarm'));
    const read = all
      .flatMap((it) => it.Properties.Metrics ?? [])
      .map((it) => it.MetricStat.Metric)
      .filter((it) => it.Namespace === 'AWS/Lambda');
    assert.equal(read.length, 3, what);
    for (const { Dimensions } of read) {
      assert.deepEqual(Dimensions, [{ Name: 'FunctionName', Value: 'shop' }], what);
    }
  }
});

test('each alarm is on what it says', () => {
  const { made } = alarms({ accessLog: true, invokesPerMinute: 100 });
  assert.deepEqual(Object.fromEntries(made.map(on)), {
    InvokeRate: [100, 'AWS/Lambda Invocations Sum of FunctionName'],
    Throttles: [1, 'AWS/Lambda Throttles Sum of FunctionName'],
    FailedInvokes: [1, 'AWS/Lambda Errors Sum of FunctionName'],
    RouterCpu: [85, 'AWS/ECS CPUUtilization Average of ClusterName, ServiceName'],
    Errors: [
      1,
      'AWS/ApplicationELB RequestCount Sum of LoadBalancer, TargetGroup',
      'AWS/ApplicationELB HTTPCode_Target_5XX_Count Sum of LoadBalancer, TargetGroup',
      'AWS/ApplicationELB HTTPCode_ELB_5XX_Count Sum of LoadBalancer',
    ],
    ResponseTime: [5, 'AWS/ApplicationELB TargetResponseTime p99 of LoadBalancer, TargetGroup'],
    QueueTimeAlarm: [1000, 'LambdaDispatch QueueTime p99 of '],
    ColdExposedAlarm: [10, 'LambdaDispatch ColdExposed Sum of '],
  });
});

/** What an alarm is on: its threshold, and every metric with what that is a metric of. */
function on([name, it]) {
  const metrics = it.Metrics?.map((m) => m.MetricStat).filter(Boolean) ?? [
    { Metric: it, Stat: it.Statistic ?? it.ExtendedStatistic },
  ];
  const said = metrics.map(({ Metric, Stat }) => {
    const namespace = Metric.Namespace.replace(/\/Stack.*/, '');
    const dimensions = (Metric.Dimensions ?? []).map((d) => d.Name).sort();
    return `${namespace} ${Metric.MetricName} ${Stat} of ${dimensions.join(', ')}`;
  });
  return [name, [it.Threshold, ...said]];
}

/** What the alarm `Errors` makes of what was seen, as CloudWatch would reckon it. */
function errors(of) {
  const { Metrics: metrics } = Object.fromEntries(alarms(of).made).Errors;
  const { Expression: expression } = metrics.find((it) => it.Expression);
  const names = metrics.filter((it) => it.MetricStat).map((it) => it.Id);
  const reckon = new Function('FILL', 'MAX', ...names, `return ${expression}`);
  const fill = (it, otherwise) => it ?? otherwise;
  const max = (all) => Math.max(...all);
  return (seen) => reckon(fill, max, ...names.map((it) => seen[it]));
}

test('what the load balancer fails itself is an error too, above all if there is no task', () => {
  const percent = errors({});
  assert.equal(percent({ requests: 1000 }), 0);
  assert.equal(percent({ requests: 1000, failed: 20 }), 2);
  assert.equal(percent({ requests: 1000, unanswered: 20 }), 2);
  assert.equal(percent({ requests: 1000, failed: 10, unanswered: 20 }), 3);
  assert.equal(percent({ unanswered: 5 }), 100);
  // No data: not breaching.
  assert.ok(Number.isNaN(percent({})));
});

test('without an application load balancer the access log tells of errors', () => {
  const it = alarms({ attached: false, accessLog: true });
  const { Errors } = Object.fromEntries(it.made.map(on));
  assert.deepEqual(Errors, [
    1,
    'LambdaDispatch QueueTime SampleCount of ',
    'LambdaDispatch Failed Sum of ',
  ]);
  it.of.hasResourceProperties('AWS::Logs::MetricFilter', {
    FilterPattern: '{ ($.status >= 500) && ($.queue_ms >= 0) }',
    MetricTransformations: [{ MetricName: 'Failed', MetricValue: '1' }],
  });
  const percent = errors({ attached: false, accessLog: true });
  assert.deepEqual([percent({ requests: 200 }), percent({ requests: 200, failed: 4 })], [0, 2]);
});

test('the access log has what is made a metric of', () => {
  const line = readFileSync(path.join(__dirname, '../../../router/src/access_log/line.rs'), 'utf8');
  for (const field of ['queue_ms: f64,', 'cold_exposed: bool,', 'status: u16,'])
    assert.ok(line.includes(field), field);
});

test('without a load balancer there is nothing to ask it', () => {
  assert.deepEqual(names(alarms({ attached: false })), [
    'FailedInvokes',
    'InvokeRate',
    'RouterCpu',
    'Throttles',
  ]);
});

test('to look for a load balancer gives the service none', () => {
  const { of } = alarms({ attached: false });
  of.resourceCountIs('AWS::ElasticLoadBalancingV2::TargetGroup', 0);
});

test('with an access log the queue and cold starts are watched', () => {
  const it = alarms({ accessLog: true });
  assert.ok(names(it).includes('QueueTimeAlarm') && names(it).includes('ColdExposedAlarm'));
  const filters = Object.values(it.of.findResources('AWS::Logs::MetricFilter')).map(
    (f) => f.Properties,
  );
  assert.deepEqual(
    filters.map((f) => [f.FilterPattern, f.MetricTransformations[0].MetricValue]),
    [
      ['{ $.queue_ms >= 0 }', '$.queue_ms'],
      ['{ $.cold_exposed IS TRUE }', '1'],
    ],
  );
});

test('a budget is an alarm on what Lambda reports', () => {
  const [, budget] = alarms({ budgetPerHour: 5, memorySize: 1024 }).made.find(
    ([name]) => name === 'Budget',
  );
  assert.equal(budget.Threshold, 5);
  assert.equal(
    budget.Metrics[0].Expression,
    'duration / 1000 * 1 * 0.0000133334 + invokes * 0.0000002',
  );
});
