"""The words of a definition: closed sets, each member with what it means. Those of metrics are in ``measures``."""

from enum import StrEnum

# Treatment and ramp


class Unit(StrEnum):
    """What is assigned to an arm and what the analysis counts."""

    USER = "user"


class Mode(StrEnum):
    """What is done for enrolled users."""

    AB = "ab"
    """Treatment is served the reranked order, control the baseline."""
    SHADOW = "shadow"
    """Both arms are scored and logged as treatment would be, and served the baseline."""
    INTERLEAVING = "interleaving"
    """Both arms are served a team draft of both orders."""
    ROLLOUT = "rollout"
    """Both arms are served the reranked order: at 50 %, everyone. There is nothing to compare, and triggers on
    treatment's own errors, the killswitch and lack of evidence still end it."""


class Order(StrEnum):
    """Which order of results an arm is served in A/B mode."""

    RERANKED = "reranked"
    BASELINE = "baseline"


class Watch(StrEnum):
    """How closely people follow a stage. It moves no threshold."""

    CRITICAL = "critical"
    """Somebody watches throughout."""
    HIGH = "high"
    """Somebody looks every hour."""
    MEDIUM = "medium"
    """Somebody looks every few hours."""
    STANDARD = "standard"
    """Alerts and reports are enough."""


class Approval(StrEnum):
    """Whether a person allows a stage before the ramp reaches it."""

    REQUIRED = "required"
    NONE = "none"


# Safety


class Severity(StrEnum):
    """How much a breach or an alert matters."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"


class Action(StrEnum):
    """What a breached guardrail leads to."""

    ROLL_BACK = "roll_back"
    """The epoch is closed at once, by the control plane."""
    INVESTIGATE = "investigate"
    """The ramp holds; a person looks at it and may roll back."""
    ANALYSE = "analyse"
    """The ramp goes on; the decision waits for a detailed analysis."""


class Route(StrEnum):
    """How a message reaches people. Addresses are the server's configuration, not the experiment's."""

    SLACK = "slack"
    EMAIL = "email"


# Analysis


class Labels(StrEnum):
    """Where relevance comes from."""

    JUDGMENTS = "judgments"
    """Graded judgments by people, in Judgment feedback."""
    CLICKS = "clicks"
    """A click is relevance 1; a value corrected for position bias is reported beside it."""


class ValueUnit(StrEnum):
    """What a point of the primary metric is."""

    POINTS_X100 = "points_x100"
    """nDCG of 0..1 times 100: an improvement of 0.0297 is 2.97 points."""


class SuccessRule(StrEnum):
    """When the primary metric counts as success."""

    POINT_AT_THRESHOLD_INTERVAL_ABOVE_ZERO = "point_at_threshold_interval_above_zero"
    """The point estimate reaches the threshold, and the whole interval lies above 0."""
    INTERVAL_ABOVE_THRESHOLD = "interval_above_threshold"
    """The whole interval lies above the threshold: stricter, and needs many more users."""


class Spending(StrEnum):
    """How looks share the probability of a false success."""

    OBRIEN_FLEMING = "obrien_fleming"
    """Lan-DeMets spending of O'Brien-Fleming type, by information: almost nothing is spent early."""


class Tier(StrEnum):
    """How much an indicator weighs beside the primary metric. None of them decides."""

    SECONDARY = "secondary"
    TERTIARY = "tertiary"


class Finding(StrEnum):
    """What an analysis may find, in the order in which it is asked."""

    SAMPLE_RATIO_HOLDS = "sample_ratio_holds"
    CROSSOVER_WITHIN_LIMIT = "crossover_within_limit"
    GUARDRAILS_HEALTHY = "guardrails_healthy"
    """Every guardrail holds. One that cannot be told does not."""
    GUARDRAIL_VIOLATED = "guardrail_violated"
    """One fails whose action is to roll back or to investigate. One that is to be analysed makes the decision wait."""
    SUCCESS = "success"
    """The success rule of the primary metric holds at a planned look."""
    PARTIAL_SUCCESS = "partial_success"
    """The interval lies above 0, and the success rule does not hold."""
    NO_SUCCESS = "no_success"
    """At the end, the interval does not lie above 0."""


class Outcome(StrEnum):
    """What a decision leads to."""

    DEPLOY = "deploy"
    ITERATE = "iterate"
    ROLL_BACK = "roll_back"
    KEEP_RUNNING = "keep_running"


# People


class Role(StrEnum):
    """A person who decides."""

    TECHNICAL_LEAD = "technical_lead"
    PRODUCT_MANAGER = "product_manager"
    ENGINEERING_MANAGER = "engineering_manager"


class Concern(StrEnum):
    """What a decision maker answers for."""

    INFRASTRUCTURE_AND_SAFETY = "infrastructure_and_safety"
    BUSINESS_IMPACT_AND_USER_EXPERIENCE = "business_impact_and_user_experience"
    RESOURCES_AND_TIMELINE = "resources_and_timeline"


class Team(StrEnum):
    """Who does the work, or hears of it."""

    TECHNICAL = "technical_team"
    PRODUCT_MANAGEMENT = "product_management"
    EXECUTIVES = "executive_leadership"
    STAKEHOLDERS = "stakeholders"
    """All of the decision makers and whoever asked to be told."""
    DEVOPS = "devops"
    MONITORING = "monitoring_team"
    QA = "qa_team"
    SECURITY = "security_team"
    DATA = "data_team"
    ML = "ml_team"
    ANALYTICS = "analytics_team"
    OPERATIONS = "operations_team"
    CUSTOMER_SUCCESS = "customer_success"


class Cadence(StrEnum):
    """When a report is due."""

    CONTINUOUS = "continuous"
    DAILY = "daily"
    WEEKLY = "weekly"
    AT_LOOKS = "at_looks"
    """At every planned look."""
    AT_END = "at_end"


class ReportKind(StrEnum):
    """What a report holds."""

    ANOMALIES = "anomalies"
    """Alerts as they fire and recover."""
    SUMMARY = "summary"
    """Where each metric, guardrail and sample stands."""
    DEEP_DIVE = "deep_dive"
    """By domain, query and day; power and sample ratio over time."""
    BRIEFING = "briefing"
    """One page for people who decide."""
    INTERIM_REVIEW = "interim_review"
    """The primary metric against the boundary of a look."""
    RESULTS = "results"
    """The decision, and all that it rests on."""


class RiskKind(StrEnum):
    """What a risk threatens."""

    TECHNICAL = "technical"
    BUSINESS = "business"


class Likelihood(StrEnum):
    """How likely a risk is."""

    VERY_LOW = "very_low"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Impact(StrEnum):
    """What it would do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Area(StrEnum):
    """What a line of the checklist is about."""

    INFRASTRUCTURE = "infrastructure"
    TECHNICAL = "technical"
    BUSINESS = "business"
    OPERATIONAL = "operational"


class Proof(StrEnum):
    """What ticks a line of the checklist."""

    CHECK = "check"
    """Something that the software measures by itself."""
    SIGNATURE = "signature"
    """A person who says so, and when."""
    CHECK_AND_SIGNATURE = "check_and_signature"
    """Both: the software measures a part of it, and a person says the rest."""


class GoNoGo(StrEnum):
    """What must hold before the first stage."""

    CHECKLIST_COMPLETE = "checklist_complete"
    NO_CRITICAL_INFRASTRUCTURE_ISSUE = "no_critical_infrastructure_issue"
    STAKEHOLDER_APPROVAL = "stakeholder_approval"
    RISK_MITIGATION_IN_PLACE = "risk_mitigation_in_place"
