const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const test = require('node:test');
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

test('each alarm is on what it says', () => {
  const { made } = alarms({ accessLog: true, invokesPerMinute: 100 });
  const on = ([name, it]) => {
    const { Metric, Stat } = it.Metrics?.find((m) => m.MetricStat).MetricStat ?? {
      Metric: it,
      Stat: it.Statistic ?? it.ExtendedStatistic,
    };
    return [
      name,
      [Metric.Namespace.replace(/\/Stack.*/, ''), Metric.MetricName, Stat, it.Threshold],
    ];
  };
  assert.deepEqual(Object.fromEntries(made.map(on)), {
    InvokeRate: ['AWS/Lambda', 'Invocations', 'Sum', 100],
    Throttles: ['AWS/Lambda', 'Throttles', 'Sum', 1],
    FailedInvokes: ['AWS/Lambda', 'Errors', 'Sum', 1],
    RouterCpu: ['AWS/ECS', 'CPUUtilization', 'Average', 85],
    Errors: ['AWS/ApplicationELB', 'RequestCount', 'Sum', 1],
    ResponseTime: ['AWS/ApplicationELB', 'TargetResponseTime', 'p99', 5],
    QueueTimeAlarm: ['LambdaDispatch', 'QueueTime', 'p99', 1000],
    ColdExposedAlarm: ['LambdaDispatch', 'ColdExposed', 'Sum', 10],
  });
});

test('the access log has what is made a metric of', () => {
  const line = readFileSync(path.join(__dirname, '../../../router/src/access_log/line.rs'), 'utf8');
  for (const field of ['queue_ms: f64,', 'cold_exposed: bool,'])
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
