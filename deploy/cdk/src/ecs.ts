import * as cdk from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { bareFunction } from './bare';
import { addNetworkListeners } from './nlb';
import { Port } from './ports';

/** The ports that a network load balancer listens on. */
export interface NlbPorts {
  /** For the router. @default 443 with a certificate, 80 without */
  readonly routerPort?: number;
  /** For the demo app, if there is one. @default 8443 with a certificate, 8080 without */
  readonly demoAppPort?: number;
}

/** What an `EcsConstruct` is made of. */
export interface EcsConstructProps {
  /** The network of the router's tasks: that of the function. */
  readonly vpc: ec2.IVpc;

  /**
   * The function that serves: itself, a version or an alias. The router may invoke this and no
   * other; of a function without a qualifier, its versions and aliases as well.
   */
  readonly lambdaFunction: lambda.IFunction;

  /**
   * The security group of the function's instances, where the function does not tell it, as an
   * imported one does not.
   *
   * @default - that of the function
   */
  readonly functionSecurityGroup?: ec2.ISecurityGroup;

  /**
   * The cluster that the service runs in. For `useFargateSpot` it needs Fargate's capacity
   * providers.
   *
   * @default - a new one, with both
   */
  readonly cluster?: ecs.ICluster;

  /**
   * A listener, usually for HTTPS, whose requests go to the router. With it `timeouts.queue` and
   * `timeouts.first_byte` are 55 s: a load balancer's idle time-out is 60 s. Raise that one and, by
   * `environment`, these and `timeouts.keep_alive` (75 s), which must be longer than it. One of
   * another stack than this one needs `listenerConditions` and `listenerPriority`.
   *
   * @default - none: attach `targetGroup` yourself, or have a network load balancer alone
   */
  readonly httpsListener?: elbv2.IApplicationListener;

  /**
   * Which of the listener's requests go to the router.
   *
   * @default - all that no other rule takes
   */
  readonly listenerConditions?: elbv2.ListenerCondition[];

  /**
   * The place of the rule among the listener's; goes with `listenerConditions`.
   *
   * @default - none
   */
  readonly listenerPriority?: number;

  /**
   * The load balancer of `httpsListener`, or of one that this stack does not make: it may connect
   * to the tasks.
   *
   * @default - that of the listener, where it tells
   */
  readonly loadBalancer?: elbv2.IApplicationLoadBalancer;

  /** Memory of a task in MiB. @default 2048 */
  readonly memoryLimitMiB?: number;

  /** CPU units of a task. @default 1024 */
  readonly cpu?: number;

  /** Most tasks. @default 10 */
  readonly maxCapacity?: number;

  /** Fewest tasks. @default 1 */
  readonly minCapacity?: number;

  /**
   * Run on spare capacity, at two minutes' notice, which the drain fits in. On both processors.
   *
   * @default false
   */
  readonly useFargateSpot?: boolean;

  /** The processor of the tasks. The images must be built for it. @default CpuArchitecture.ARM64 */
  readonly cpuArchitecture?: ecs.CpuArchitecture;

  /**
   * The router's image.
   *
   * @default - `lambda-dispatch-router` of the account's own registry, tagged with this version
   */
  readonly routerImage?: ecs.ContainerImage;

  /** What the original called `routerImage` once. @default - `routerImage` */
  readonly containerImage?: ecs.ContainerImage;

  /**
   * A web app to run beside the router, without Lambda, to compare with; it has its own target
   * group. It must listen on port 3001 (`PORT`) of every address, and answer `GET /health`.
   *
   * @default - none
   */
  readonly demoAppImage?: ecs.ContainerImage;

  /** What becomes of logs when the stack goes. @default RemovalPolicy.DESTROY */
  readonly removalPolicy?: cdk.RemovalPolicy;

  /** How long logs are kept. @default RetentionDays.ONE_WEEK */
  readonly logRetention?: logs.RetentionDays;

  /**
   * Make a network load balancer that is not reachable from outside.
   *
   * To the router its clients have its own private addresses, and none is seen to use TLS, even if
   * the load balancer ends that: the app gets its address in `X-Forwarded-For`, and
   * `X-Forwarded-Proto: http`. What clients say in these headers is dropped if there is no
   * application load balancer beside it, and else believed.
   *
   * @default false
   */
  readonly createNetworkLoadBalancer?: boolean;

  /**
   * A network load balancer to listen on. It must have a security group. What is said of clients of
   * `createNetworkLoadBalancer` holds for its clients too.
   *
   * @default - none
   */
  readonly networkLoadBalancer?: elbv2.INetworkLoadBalancer;

  /** The certificate of the network load balancer's listeners. @default - TCP, without TLS */
  readonly nlbCertificate?: acm.ICertificate;

  /** The ports of the network load balancer. @default - see NlbPorts */
  readonly nlbPorts?: NlbPorts;

  /** Where tasks run. @default - private subnets with a way out */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /** Requests that one instance serves at once. @default 10 */
  readonly slots?: number;

  /** Most instances of each task. @default 100 */
  readonly instancesMax?: number;

  /**
   * From SIGTERM to the end of the last request; at most 115 s, as ECS kills after 120 s. For its
   * first 10 s, or all of it if it is shorter, connections are still accepted.
   *
   * @default Duration.seconds(110)
   */
  readonly drain?: cdk.Duration;

  /**
   * More settings of the router, as variables: `LAMBDA_DISPATCH_TIMEOUTS_QUEUE: '30s'`. They go
   * before what this construct sets under the same name, which the original's names do not.
   *
   * @default - what this construct sets
   */
  readonly environment?: { [name: string]: string };

  /**
   * Let the original's extensions attach too, while functions move over. They prove nothing of
   * themselves, so this opens the control port to the function's group without a token.
   *
   * @default false
   */
  readonly originalExtensions?: boolean;

  /**
   * Write a line of JSON for each request to the log, of which `ObserveConstruct` makes metrics:
   * the time in the queue, and who waited for a cold start. CloudWatch charges for each.
   *
   * @default false
   */
  readonly accessLog?: boolean;

  /**
   * When ECS replaces the router's container: what it runs there, and how often.
   *
   * @default - `lambda-dispatch health --live`, which needs no shell; three failures, 10 s apart
   */
  readonly containerHealthCheck?: ecs.HealthCheck;

  /** Allow `aws ecs execute-command`; the tasks' file system is writable then. @default false */
  readonly enableExecuteCommand?: boolean;
}

/** The router, as a Fargate service that instances of one function dial back to. */
export class EcsConstruct extends Construct {
  /** The service. */
  public readonly service: ecs.FargateService;
  /** The group of the tasks. */
  public readonly securityGroup: ec2.SecurityGroup;
  /** The network load balancer, if one was asked for. */
  public readonly networkLoadBalancer?: elbv2.INetworkLoadBalancer;
  /** The role that the router acts as. */
  public readonly taskRole: iam.Role;
  /** The cluster. */
  public readonly cluster: ecs.ICluster;
  /** The router's log. */
  public readonly logGroup: logs.LogGroup;
  /** Whether the log has a line for each request. */
  public readonly accessLog: boolean;
  /** What the router invokes. */
  public readonly lambdaFunction: lambda.IFunction;
  /**
   * The router's target group, if somebody has read it.
   *
   * @internal
   */
  public _routerTargets?: elbv2.ApplicationTargetGroup;
  private demoAppTargets?: elbv2.ApplicationTargetGroup;
  private readonly vpc: ec2.IVpc;
  private readonly demoApp: boolean;

  constructor(scope: Construct, id: string, props: EcsConstructProps) {
    super(scope, id);
    this.lambdaFunction = props.lambdaFunction;
    this.accessLog = props.accessLog ?? false;
    this.vpc = props.vpc;
    this.demoApp = props.demoAppImage !== undefined;
    const drain = this.drain(props.drain);
    const hasNetworkLoadBalancer =
      props.createNetworkLoadBalancer || props.networkLoadBalancer !== undefined;
    const listensAlone = hasNetworkLoadBalancer && !props.httpsListener;

    this.cluster =
      props.cluster ??
      new ecs.Cluster(this, 'Cluster', {
        vpc: props.vpc,
        enableFargateCapacityProviders: true,
        containerInsightsV2: ecs.ContainerInsights.ENABLED,
      });

    this.taskRole = new iam.Role(this, 'EcsTaskRole', {
      assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com'),
    });
    // What `lambda-dispatch check --iam` prints, and the qualifiers of a bare name. Not by
    // `grantInvoke`, which would give imported functions a resource policy as well.
    const arns = [props.lambdaFunction.functionArn];
    if (!isQualified(props.lambdaFunction)) arns.push(`${props.lambdaFunction.functionArn}:*`);
    this.taskRole.addToPolicy(
      new iam.PolicyStatement({
        sid: 'InvokeFunctionsOfPools',
        actions: ['lambda:InvokeFunction'],
        resources: arns,
      }),
    );

    const taskDefinition = new ecs.FargateTaskDefinition(this, 'TaskDefinition', {
      memoryLimitMiB: props.memoryLimitMiB ?? 2048,
      cpu: props.cpu ?? 1024,
      taskRole: this.taskRole,
      runtimePlatform: {
        cpuArchitecture: props.cpuArchitecture ?? ecs.CpuArchitecture.ARM64,
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      },
    });
    this.logGroup = new logs.LogGroup(this, 'ServiceLogGroup', {
      retention: props.logRetention ?? logs.RetentionDays.ONE_WEEK,
      removalPolicy: props.removalPolicy ?? cdk.RemovalPolicy.DESTROY,
    });
    const ports = [Port.CLIENTS, Port.CONTROL, Port.ADMIN];
    if (props.originalExtensions) ports.push(Port.CONTROL_PLAINTEXT);
    taskDefinition.addContainer('LambdaDispatchRouter', {
      image:
        props.routerImage ?? props.containerImage ?? this.ownRegistry('lambda-dispatch-router'),
      logging: ecs.LogDriver.awsLogs({ logGroup: this.logGroup, streamPrefix: 'ecs' }),
      stopTimeout: cdk.Duration.seconds(STOP_SECONDS),
      // Alive, not ready: a router that drains is not to be replaced before its time.
      healthCheck: props.containerHealthCheck ?? {
        command: ['CMD', '/lambda-dispatch', 'health', '--live'],
        interval: cdk.Duration.seconds(10),
        timeout: cdk.Duration.seconds(5),
        retries: 3,
        startPeriod: cdk.Duration.seconds(30),
      },
      readonlyRootFilesystem: !props.enableExecuteCommand,
      portMappings: ports.map((containerPort) => ({ containerPort })),
      environment: {
        LAMBDA_DISPATCH_POOL_FUNCTION: props.lambdaFunction.functionArn,
        LAMBDA_DISPATCH_POOL_SLOTS: String(props.slots ?? 10),
        LAMBDA_DISPATCH_POOL_INSTANCES_MAX: String(props.instancesMax ?? 100),
        LAMBDA_DISPATCH_TIMEOUTS_DRAIN: `${drain}s`,
        // It is part of the drain, so the router refuses a longer one.
        LAMBDA_DISPATCH_TIMEOUTS_DRAIN_DELAY: `${Math.min(10, drain)}s`,
        LAMBDA_DISPATCH_LOG_FORMAT: 'json',
        // For the load balancer's probes; nobody else is let in.
        LAMBDA_DISPATCH_LISTEN_ADMIN: `0.0.0.0:${Port.ADMIN}`,
        ...(props.originalExtensions && {
          LAMBDA_DISPATCH_LISTEN_WIRE_V1: 'private',
          LAMBDA_DISPATCH_LISTEN_ALLOW_PLAINTEXT_CONTROL: 'true',
        }),
        ...(props.accessLog && {
          LAMBDA_DISPATCH_LOG_ACCESS: '-',
          LAMBDA_DISPATCH_LOG_ACCESS_FORMAT: 'json',
        }),
        // An application load balancer gives up after 60 s of silence unless told otherwise, and
        // its 504 has no reason.
        ...(props.httpsListener && {
          LAMBDA_DISPATCH_TIMEOUTS_QUEUE: '55s',
          LAMBDA_DISPATCH_TIMEOUTS_FIRST_BYTE: '55s',
        }),
        ...(listensAlone && {
          LAMBDA_DISPATCH_LISTEN_TRUSTED_PROXIES: this.believed(),
          // Of each of its nodes, which stands for many clients: as many as of all together.
          LAMBDA_DISPATCH_LIMITS_CONNECTIONS_PER_CLIENT: '10000',
        }),
        ...props.environment,
      },
    });

    this.securityGroup = new ec2.SecurityGroup(this, 'EcsSecurityGroup', {
      vpc: props.vpc,
      allowAllOutbound: false,
      description: 'The router: clients from the load balancer, instances from the function',
    });
    this.securityGroup.addEgressRule(
      ec2.Peer.anyIpv4(),
      ec2.Port.tcp(443),
      'The APIs of AWS: Lambda, logs, images',
    );
    const instances = props.functionSecurityGroup
      ? [props.functionSecurityGroup]
      : this.groupsOf(props);
    for (const group of instances) {
      this.securityGroup.connections.allowFrom(
        group,
        ec2.Port.tcp(Port.CONTROL),
        'Instances dial back over TLS',
      );
      if (props.originalExtensions) {
        this.securityGroup.connections.allowFrom(
          group,
          ec2.Port.tcp(Port.CONTROL_PLAINTEXT),
          'Instances of the original dial back',
        );
      }
    }

    if (props.demoAppImage) this.addDemoApp(taskDefinition, props);

    this.service = new ecs.FargateService(this, 'EcsService', {
      cluster: this.cluster,
      taskDefinition,
      // No desired count: with one, each update of the stack would undo the scaling.
      assignPublicIp: false,
      vpcSubnets: props.vpcSubnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
      securityGroups: [this.securityGroup],
      platformVersion: ecs.FargatePlatformVersion.VERSION1_4,
      // A cluster of the user's may have no capacity providers, which only Spot needs.
      capacityProviderStrategies:
        props.cluster && !props.useFargateSpot
          ? undefined
          : [{ capacityProvider: props.useFargateSpot ? 'FARGATE_SPOT' : 'FARGATE', weight: 1 }],
      // A new task first, then the old one's drain; back to what worked if the new one does not.
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { enable: true, rollback: true },
      healthCheckGracePeriod: cdk.Duration.seconds(this.whereBalanced(30)),
      enableExecuteCommand: props.enableExecuteCommand,
    });
    this.service
      .autoScaleTaskCount({
        minCapacity: props.minCapacity ?? 1,
        maxCapacity: props.maxCapacity ?? 10,
      })
      .scaleOnCpuUtilization('CpuScaling', {
        targetUtilizationPercent: 50,
        scaleInCooldown: cdk.Duration.seconds(60),
        scaleOutCooldown: cdk.Duration.seconds(60),
      });

    if (props.httpsListener) this.listenTo(props.httpsListener, props);
    if (props.loadBalancer) {
      for (const port of [Port.CLIENTS, Port.ADMIN]) {
        this.service.connections.allowFrom(
          props.loadBalancer,
          ec2.Port.tcp(port),
          'From the load balancer',
        );
      }
    }
    if (hasNetworkLoadBalancer) {
      this.networkLoadBalancer = addNetworkListeners(this, {
        vpc: props.vpc,
        service: this.service,
        existing: props.networkLoadBalancer,
        certificate: props.nlbCertificate,
        ports: props.nlbPorts,
        demoApp: this.demoApp,
      });
    }
  }

  /**
   * The router's target group, for a listener of yours.
   *
   * It is made, and given to the service, when it is first read: ECS refuses a service with a
   * target group that no listener forwards to. So read it only to attach it.
   */
  public get targetGroupRouter(): elbv2.ApplicationTargetGroup {
    this._routerTargets ??= this.targets('FargateTargetGroup', {
      container: 'LambdaDispatchRouter',
      port: Port.CLIENTS,
      healthPort: Port.ADMIN,
      healthPath: '/readyz',
    });
    return this._routerTargets;
  }

  /** The same; its older name. */
  public get targetGroup(): elbv2.ApplicationTargetGroup {
    return this.targetGroupRouter;
  }

  /** The demo app's target group, if there is a demo app; made when it is first read, too. */
  public get targetGroupDemoApp(): elbv2.ApplicationTargetGroup | undefined {
    if (!this.demoApp) return undefined;
    this.demoAppTargets ??= this.targets('FargateDemoAppTargetGroup', {
      container: 'DemoApp',
      port: Port.DEMO_APP,
      healthPort: Port.DEMO_APP,
      healthPath: '/health',
    });
    return this.demoAppTargets;
  }

  /** Has a listener forward to the router: all that nobody else takes, or what conditions say. */
  private listenTo(listener: elbv2.IApplicationListener, props: EcsConstructProps) {
    const { listenerConditions: conditions, listenerPriority: priority } = props;
    const targetGroups = [this.targetGroupRouter];
    if (conditions === undefined || priority === undefined) {
      // The CDK refuses one without the other.
      listener.addTargetGroups('Router', { targetGroups, conditions, priority });
      return;
    }
    // Ours, not the listener's: it may have rules for several routers, and be of another stack.
    new elbv2.ApplicationListenerRule(this, 'ListenerRule', {
      listener,
      conditions,
      priority,
      action: elbv2.ListenerAction.forward(targetGroups),
    });
  }

  /**
   * A number that is there if the service has a load balancer, which is known in the end only: ECS
   * refuses a grace period for the health checks of none.
   */
  private whereBalanced(number: number): number {
    return cdk.Lazy.uncachedNumber({
      produce: (context) => {
        const service = this.service.node.defaultChild as ecs.CfnService;
        return context.resolve(service.loadBalancers) ? number : undefined;
      },
    });
  }

  /**
   * Whose `X-Forwarded-*` the router believes behind a network load balancer, which passes on what
   * clients claim, from a private address. Whether an application load balancer is there too is
   * known in the end only.
   */
  private believed(): string {
    return cdk.Lazy.string({ produce: () => (this._routerTargets ? 'private' : 'none') });
  }

  /** Seconds of drain, which ECS must outwait. */
  private drain(drain?: cdk.Duration): number {
    const seconds = (drain ?? cdk.Duration.seconds(110)).toSeconds();
    if (seconds > STOP_SECONDS - 5) {
      throw new Error(
        `${this.node.path}: drain is ${seconds} s, must be at most ${STOP_SECONDS - 5} s: ` +
          `Fargate kills a task ${STOP_SECONDS} s after SIGTERM, whatever it does`,
      );
    }
    return seconds;
  }

  /** The groups that instances are in. */
  private groupsOf(props: EcsConstructProps): ec2.ISecurityGroup[] {
    const bare = bareFunction(props.lambdaFunction);
    if (!bare.isBoundToVpc) {
      throw new Error(
        `${this.node.path}: lambdaFunction does not tell its security group. Put the function into ` +
          'the VPC, or set functionSecurityGroup: its instances dial the tasks by private address',
      );
    }
    return bare.connections.securityGroups;
  }

  private ownRegistry(name: string): ecs.ContainerImage {
    return ecs.ContainerImage.fromEcrRepository(
      ecr.Repository.fromRepositoryName(this, 'Images', name),
      VERSION,
    );
  }

  private addDemoApp(taskDefinition: ecs.FargateTaskDefinition, props: EcsConstructProps) {
    taskDefinition.addContainer('DemoApp', {
      image: props.demoAppImage!,
      essential: false,
      logging: ecs.LogDriver.awsLogs({ logGroup: this.logGroup, streamPrefix: 'demo-app' }),
      portMappings: [{ containerPort: Port.DEMO_APP }],
      environment: {
        PORT: String(Port.DEMO_APP),
        LAMBDA_DISPATCH_PORT: String(Port.DEMO_APP),
        // Our own demo app listens on loopback otherwise, as is right in a function.
        LAMBDA_DISPATCH_DEMO_APP_HOST: '0.0.0.0',
      },
    });
  }

  private targets(id: string, of: Target): elbv2.ApplicationTargetGroup {
    const group = new elbv2.ApplicationTargetGroup(this, id, {
      vpc: this.vpc,
      port: of.port,
      protocol: elbv2.ApplicationProtocol.HTTP,
      targetType: elbv2.TargetType.IP,
      deregistrationDelay: cdk.Duration.seconds(60),
      healthCheck: {
        path: of.healthPath,
        port: String(of.healthPort),
        interval: cdk.Duration.seconds(5),
        timeout: cdk.Duration.seconds(2),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });
    group.addTarget(
      this.service.loadBalancerTarget({
        containerName: of.container,
        containerPort: of.port,
      }),
    );
    // Probes come to another port, of which the target group tells its load balancers nothing.
    if (of.healthPort !== of.port) {
      group.registerConnectable(this.service, ec2.Port.tcp(of.healthPort));
    }
    return group;
  }
}

interface Target {
  readonly container: string;
  readonly port: number;
  readonly healthPort: number;
  readonly healthPath: string;
}

/** Whether a function is a version or an alias. */
function isQualified(fn: lambda.IFunction): boolean {
  if (bareFunction(fn) !== fn) return true;
  // arn:aws:lambda:region:account:function:name, and perhaps :qualifier
  return !cdk.Token.isUnresolved(fn.functionArn) && fn.functionArn.split(':').length > 7;
}

/** The most that Fargate allows. */
const STOP_SECONDS = 120;

/** Of the images that belong to this package. */
const VERSION: string = require('../package.json').version; // eslint-disable-line
