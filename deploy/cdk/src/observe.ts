import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { bareFunction } from './bare';
import { EcsConstruct } from './ecs';

/** What an `ObserveConstruct` watches, and from where on it calls. */
export interface ObserveConstructProps {
  /** The router. */
  readonly router: EcsConstruct;

  /** Who is told of alarms. @default - nobody; alarms are seen in the console */
  readonly topic?: sns.ITopic;

  /**
   * Invokes a minute, from where on something is wrong: instances that leave as soon as they came
   * are the commonest way to a high bill.
   *
   * @default 600
   */
  readonly invokesPerMinute?: number;

  /**
   * Requests in a hundred that fail, over five minutes. What an application load balancer answers
   * 5xx by itself is among them, for all that it balances; without one this needs `accessLog`.
   *
   * @default 1
   */
  readonly errorPercent?: number;

  /**
   * The time in which 99 of 100 requests must be answered, over five minutes; with an application
   * load balancer, which measures it.
   *
   * @default Duration.seconds(5)
   */
  readonly responseTime?: cdk.Duration;

  /**
   * Dollars that the function may cost in an hour, by what Lambda reports when invokes end.
   *
   * @default - no alarm
   */
  readonly budgetPerHour?: number;

  /**
   * The wait in the router's queue that 99 of 100 requests must not exceed; with `accessLog`.
   *
   * @default Duration.seconds(1)
   */
  readonly queueTime?: cdk.Duration;

  /** Requests in five minutes that may wait for a cold start; with `accessLog`. @default 10 */
  readonly coldExposed?: number;

  /** Memory of the function in MB, for `budgetPerHour`. @default 192 */
  readonly memorySize?: number;

  /**
   * Dollars for a GB-second, for `budgetPerHour`.
   *
   * @default 0.0000133334, that of ARM64 in us-east-1
   */
  readonly pricePerGbSecond?: number;

  /** Make a dashboard. @default true */
  readonly dashboard?: boolean;
}

/**
 * Alarms and a dashboard, from what Lambda, ECS and the load balancer measure themselves and, where
 * the router writes its `accessLog`, from what it says of each request.
 */
export class ObserveConstruct extends Construct {
  /** The alarms. */
  public readonly alarms: cloudwatch.Alarm[] = [];
  /** The dashboard, if there is one. */
  public readonly dashboard?: cloudwatch.Dashboard;

  constructor(scope: Construct, id: string, props: ObserveConstructProps) {
    super(scope, id);
    const { router } = props;
    // What Lambda measures of versions and aliases is summed there.
    const fn = bareFunction(router.lambdaFunction);
    const minute = { period: cdk.Duration.minutes(1) };

    const invokes = fn.metricInvocations({ ...minute, statistic: 'Sum', label: 'invokes' });
    const throttles = fn.metricThrottles({ ...minute, statistic: 'Sum', label: 'throttled' });
    const failures = fn.metricErrors({ ...minute, statistic: 'Sum', label: 'failed' });
    const instances = fn.metric('ConcurrentExecutions', {
      ...minute,
      statistic: 'Maximum',
      label: 'instances',
    });
    const cpu = router.service.metricCpuUtilization({ ...minute, label: 'CPU' });
    const memory = router.service.metricMemoryUtilization({ ...minute, label: 'memory' });

    this.alarm(props, 'InvokeRate', {
      metric: invokes,
      threshold: props.invokesPerMinute ?? 600,
      evaluationPeriods: 3,
      alarmDescription: "Invokes do not last: do they end at once? See the function's log.",
    });
    this.alarm(props, 'Throttles', {
      metric: throttles,
      threshold: 1,
      evaluationPeriods: 3,
      alarmDescription:
        'Lambda refuses instances: a limit of the account or the function is reached.',
    });
    this.alarm(props, 'FailedInvokes', {
      metric: failures,
      threshold: 1,
      evaluationPeriods: 3,
      alarmDescription: "Instances crash or run into their time-out. See the function's log.",
    });
    this.alarm(props, 'RouterCpu', {
      metric: cpu,
      threshold: 85,
      evaluationPeriods: 5,
      alarmDescription: 'Tasks are busy though the service scales at 50 %: is maxCapacity reached?',
    });
    if (props.budgetPerHour !== undefined) {
      const hour = { period: cdk.Duration.hours(1) };
      const gigabytes = (props.memorySize ?? 192) / 1024;
      const price = props.pricePerGbSecond ?? 0.0000133334;
      this.alarm(props, 'Budget', {
        metric: new cloudwatch.MathExpression({
          ...hour,
          label: 'dollars an hour',
          expression: `duration / 1000 * ${gigabytes} * ${price} + invokes * ${PRICE_PER_INVOKE}`,
          usingMetrics: {
            duration: fn.metricDuration({ ...hour, statistic: 'Sum' }),
            invokes: fn.metricInvocations({ ...hour, statistic: 'Sum' }),
          },
        }),
        threshold: props.budgetPerHour,
        evaluationPeriods: 1,
        alarmDescription:
          'The function is too dear. `pool.budget_per_hour` makes the router keep to a budget.',
      });
    }

    const widgets: cloudwatch.IWidget[] = [
      new cloudwatch.GraphWidget({ title: 'Instances', left: [instances] }),
      new cloudwatch.GraphWidget({
        title: 'Invokes a minute',
        left: [invokes, failures, throttles],
      }),
      new cloudwatch.GraphWidget({
        title: 'Router',
        left: [cpu, memory],
        leftYAxis: { min: 0, max: 100 },
      }),
    ];
    const period = cdk.Duration.minutes(5);
    const errors = (expression: string, usingMetrics: { [name: string]: cloudwatch.IMetric }) =>
      this.alarm(props, 'Errors', {
        metric: new cloudwatch.MathExpression({
          expression,
          label: '% failed',
          period,
          usingMetrics,
        }),
        threshold: props.errorPercent ?? 1,
        evaluationPeriods: 2,
        alarmDescription:
          "Requests fail. The access log gives each one's reason, but for those that the load " +
          'balancer fails itself: has it a healthy task?',
      });
    const targets = this.attachedTargets(router);
    if (targets) {
      const group = targets.metrics;
      const requests = group.requestCount({ ...minute, label: 'requests' });
      const failed = group.httpCodeTarget(elbv2.HttpCodeTarget.TARGET_5XX_COUNT, {
        ...minute,
        label: '5xx',
      });
      // 502, 503 and 504 without a task's doing, which no target group counts.
      const unanswered = new cloudwatch.Metric({
        namespace: 'AWS/ApplicationELB',
        metricName: 'HTTPCode_ELB_5XX_Count',
        dimensionsMap: { LoadBalancer: targets.firstLoadBalancerFullName },
        ...minute,
        statistic: 'Sum',
        label: '5xx of the load balancer',
      });
      const slow = group.targetResponseTime({ ...minute, statistic: 'p99', label: 'p99' });
      errors(
        // Of what did not happen there is no data. Those for whom there was no task are not among
        // the requests.
        '100 * (FILL(failed, 0) + FILL(unanswered, 0)) / ' +
          'MAX([FILL(requests, 0), FILL(unanswered, 0)])',
        {
          requests: requests.with({ period }),
          failed: failed.with({ period }),
          unanswered: unanswered.with({ period }),
        },
      );
      this.alarm(props, 'ResponseTime', {
        metric: slow.with({ period }),
        threshold: (props.responseTime ?? cdk.Duration.seconds(5)).toSeconds(),
        evaluationPeriods: 2,
        alarmDescription: 'Requests are slow, or wait: compare queue and app in the access log.',
      });
      widgets.push(
        new cloudwatch.GraphWidget({
          title: 'Requests a minute',
          left: [requests, failed, unanswered],
        }),
        new cloudwatch.GraphWidget({
          title: 'Time to answer, in seconds',
          left: ['p50', 'p90', 'p99'].map((statistic) =>
            slow.with({ statistic, label: statistic }),
          ),
        }),
      );
    }
    if (router.accessLog) {
      const of = (
        name: string,
        pattern: logs.IFilterPattern,
        value: string,
        unit: cloudwatch.Unit,
      ) =>
        new logs.MetricFilter(this, `${name}Filter`, {
          logGroup: router.logGroup,
          // One for each router, as a filter's metrics have no dimension to tell them apart.
          metricNamespace: `LambdaDispatch/${cdk.Names.uniqueResourceName(router, { maxLength: 200 })}`,
          metricName: name,
          filterPattern: pattern,
          metricValue: value,
          unit,
        });
      const queue = of(
        'QueueTime',
        logs.FilterPattern.numberValue('$.queue_ms', '>=', 0),
        '$.queue_ms',
        cloudwatch.Unit.MILLISECONDS,
      ).metric({ statistic: 'p99', label: 'p99 in the queue, ms', period });
      const cold = of(
        'ColdExposed',
        logs.FilterPattern.booleanValue('$.cold_exposed', true),
        '1',
        cloudwatch.Unit.COUNT,
      ).metric({ statistic: 'Sum', label: 'waited for a cold start', period });
      this.alarm(props, 'QueueTimeAlarm', {
        metric: queue,
        threshold: (props.queueTime ?? cdk.Duration.seconds(1)).toMilliseconds(),
        evaluationPeriods: 2,
        alarmDescription:
          'Requests wait for a slot: is instancesMax reached, or is Lambda throttling?',
      });
      this.alarm(props, 'ColdExposedAlarm', {
        metric: cold,
        threshold: props.coldExposed ?? 10,
        evaluationPeriods: 1,
        alarmDescription:
          'Requests waited for a cold start. See pool.instances_min and pool.slots.',
      });
      widgets.push(new cloudwatch.GraphWidget({ title: 'Queue', left: [queue], right: [cold] }));
      if (!targets) {
        const failed = of(
          'Failed',
          // A status is in other lines too, a time in the queue in a request's alone.
          logs.FilterPattern.all(
            logs.FilterPattern.numberValue('$.status', '>=', 500),
            logs.FilterPattern.numberValue('$.queue_ms', '>=', 0),
          ),
          '1',
          cloudwatch.Unit.COUNT,
        ).metric({ statistic: 'Sum', label: '5xx', period });
        const requests = queue.with({ statistic: 'SampleCount', label: 'requests' });
        errors('100 * FILL(failed, 0) / requests', { requests, failed });
      }
    }
    if (props.dashboard ?? true) {
      this.dashboard = new cloudwatch.Dashboard(this, 'Dashboard', { widgets: [widgets] });
      this.dashboard.addWidgets(
        new cloudwatch.AlarmStatusWidget({ title: 'Alarms', alarms: this.alarms, width: 24 }),
      );
    }
  }

  private alarm(
    props: ObserveConstructProps,
    id: string,
    of: Omit<cloudwatch.AlarmProps, 'comparisonOperator' | 'treatMissingData'>,
  ) {
    const alarm = new cloudwatch.Alarm(this, id, {
      ...of,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
    if (props.topic) alarm.addAlarmAction(new actions.SnsAction(props.topic));
    this.alarms.push(alarm);
  }

  /**
   * The router's target group. Without a load balancer it has no metrics; nor is one made to ask:
   * with it the service could not be created.
   */
  private attachedTargets(router: EcsConstruct): elbv2.ApplicationTargetGroup | undefined {
    const group = router._routerTargets;
    try {
      return group?.firstLoadBalancerFullName ? group : undefined;
    } catch {
      return undefined;
    }
  }
}

/** In us-east-1, and nearly everywhere. */
const PRICE_PER_INVOKE = '0.0000002';
