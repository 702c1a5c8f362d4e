import * as cdk from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { Port } from './ports';

/** What a `LambdaConstruct` is made of. */
export interface LambdaConstructProps {
  /** The network of the function, in which its instances dial the router's tasks. */
  readonly vpc: ec2.IVpc;

  /**
   * The image of the function: your app, with the extension in `/opt/extensions`. AWS Lambda takes
   * images from private repositories of its own region only, so there is no image that suits all.
   *
   * @default - none: it must be given
   */
  readonly dockerImage?: lambda.DockerImageCode;

  /**
   * A security group of the router that `EcsConstruct` does not know of: instances may dial it.
   *
   * @default - the group of each `EcsConstruct` that is given this function
   */
  readonly ecsSecurityGroup?: ec2.ISecurityGroup;

  /**
   * Memory in MB; the share of a core comes with it.
   *
   * @default 192
   */
  readonly memorySize?: number;

  /**
   * The longest that one instance serves, 5 s to 15 min. Fifteen minutes cost least.
   *
   * @default Duration.seconds(60)
   */
  readonly timeout?: cdk.Duration;

  /**
   * The processor. The image must be built for it.
   *
   * @default Architecture.ARM_64
   */
  readonly architecture?: lambda.Architecture;

  /**
   * More variables for the app and the extension.
   *
   * @default - only what the extension needs
   */
  readonly environment?: { [name: string]: string };

  /**
   * Where the function's network interfaces are.
   *
   * @default - private subnets with a way out
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * Whether the app may open connections to anywhere. If not, instances reach the router and what
   * you allow through `connections` of the function.
   *
   * @default true
   */
  readonly allowAllOutbound?: boolean;

  /**
   * Publish versions, have Lambda keep each as a snapshot of the warm app, and serve through the
   * alias `live`. `target` is that alias.
   *
   * @default false
   */
  readonly snapStart?: boolean;

  /**
   * Environments that the function may have at once. They are taken from the account's.
   *
   * @default - none reserved
   */
  readonly reservedConcurrentExecutions?: number;

  /**
   * How long logs are kept.
   *
   * @default RetentionDays.ONE_WEEK
   */
  readonly logRetention?: logs.RetentionDays;

  /**
   * What becomes of the logs when the stack goes.
   *
   * @default RemovalPolicy.DESTROY
   */
  readonly removalPolicy?: cdk.RemovalPolicy;
}

/** A function whose instances dial back to the router and serve many requests at once. */
export class LambdaConstruct extends Construct {
  /** The function. */
  public readonly function: lambda.Function;

  /** What the router should invoke: the function, or with `snapStart` its alias `live`. */
  public readonly target: lambda.IFunction;

  /** The group that the function's network interfaces are in. Nothing may connect to it. */
  public readonly securityGroup: ec2.SecurityGroup;

  constructor(scope: Construct, id: string, props: LambdaConstructProps) {
    super(scope, id);
    if (!props.dockerImage) {
      throw new Error(
        `${this.node.path}: dockerImage is not set. Give the image that holds your app and the ` +
          "extension, such as DockerImageCode.fromImageAsset('.')",
      );
    }
    const timeout = props.timeout ?? cdk.Duration.seconds(60);
    if (!timeout.isUnresolved() && (timeout.toSeconds() < 5 || timeout.toSeconds() > 900)) {
      throw new Error(
        `${this.node.path}: timeout is ${timeout.toSeconds()} s, must be 5 s to 900 s: ` +
          'an instance serves until its time-out',
      );
    }
    const architecture = props.architecture ?? lambda.Architecture.ARM_64;

    // A role of its own: to run in a VPC and to write to this log, nothing else.
    const role = new iam.Role(this, 'LambdaExecutionRole', {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      managedPolicies: [
        iam.ManagedPolicy.fromAwsManagedPolicyName('service-role/AWSLambdaVPCAccessExecutionRole'),
      ],
    });

    this.securityGroup = new ec2.SecurityGroup(this, 'LambdaSG', {
      vpc: props.vpc,
      allowAllOutbound: props.allowAllOutbound ?? true,
      description: 'Instances of the function: they dial, nobody dials them',
    });

    const fn = new lambda.DockerImageFunction(this, 'LambdaFunction', {
      code: props.dockerImage,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets ?? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
      securityGroups: [this.securityGroup],
      memorySize: props.memorySize ?? 192,
      timeout,
      architecture,
      role,
      reservedConcurrentExecutions: props.reservedConcurrentExecutions,
      environment: {
        LAMBDA_DISPATCH_RUNTIME: 'current_thread',
        ...props.environment,
      },
      logGroup: new logs.LogGroup(this, 'LambdaLogGroup', {
        retention: props.logRetention ?? logs.RetentionDays.ONE_WEEK,
        removalPolicy: props.removalPolicy ?? cdk.RemovalPolicy.DESTROY,
      }),
    });
    this.function = fn;

    if (props.snapStart) {
      // Not by the construct's own property: it does not know yet that images may have snapshots.
      const resource = fn.node.defaultChild as lambda.CfnFunction;
      resource.addPropertyOverride('SnapStart', { ApplyOn: 'PublishedVersions' });
      this.target = new lambda.Alias(this, 'LiveAlias', {
        aliasName: 'live',
        version: fn.currentVersion,
      });
    } else {
      this.target = fn;
    }

    if (props.ecsSecurityGroup) {
      props.ecsSecurityGroup.connections.allowFrom(
        this.securityGroup,
        ec2.Port.tcp(Port.CONTROL),
        'Instances dial back over TLS',
      );
    }
  }
}
