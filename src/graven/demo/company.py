"""Quillmere, a tea merchant that does not exist: its people, services, addresses and customers.

Addresses are from the ranges set aside for documentation, host names end in `.invalid`.
"""

from dataclasses import dataclass

DOMAIN = "quillmere.invalid"
BASTION = "bastion-1"
ACCOUNT = "111122223333"
REGION = "eu-central-1"
OFFICE_IP = "198.51.100.10"
NODE_IPS = ("192.0.2.201", "192.0.2.202", "192.0.2.203")
THIEF_IP = "203.0.113.77"  # nobody at Quillmere has ever come from here
STRANGERS_NETWORK = "203.0.113"

AWS_CLI = "aws-cli/2.17.44 md/awscrt#0.21.2 ua/2.0 os/linux md/arch#x86_64 lang/python#3.11.9"
AWS_SDK = "Boto3/1.35.9 md/Botocore#1.35.9 ua/2.0 os/linux md/arch#x86_64 lang/python#3.11.9"
KUBECTL = "kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc"
OPERATOR = "crm-operator/v0.9.2 (linux/amd64) client-go/v0.31.0"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, or a service with a name of its own."""

    name: str  # the login: "dana.voss", "ci-deployer"
    home_ip: str
    agent: str = ""  # a person's browser
    is_service: bool = False

    @property
    def email(self) -> str:
        return f"{self.name}@{DOMAIN}"


def _person(name: str, host: int, system: str) -> Actor:
    return Actor(name, f"192.0.2.{host}", f"Mozilla/5.0 ({system}; rv:142.0) Gecko/20100101 Firefox/142.0")


_WINDOWS, _MAC, _LINUX = "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 14.6", "X11; Linux x86_64"

MARA = _person("mara.lindqvist", 11, _MAC)  # runs the company
TOMAS = _person("tomas.okafor", 12, _MAC)  # heads sales
DANA = _person("dana.voss", 13, _WINDOWS)  # sales operations
IRIS = _person("iris.halloran", 14, _WINDOWS)  # sales
PAVEL = _person("pavel.szabo", 15, _WINDOWS)  # sales
NOOR = _person("noor.rahimi", 16, _WINDOWS)  # support
JUNO = _person("juno.petrie", 17, _LINUX)  # support
ELIAS = _person("elias.brandt", 18, _LINUX)  # engineering
WEN = _person("wen.castell", 19, _LINUX)  # engineering
SOFIA = _person("sofia.adler", 20, _LINUX)  # engineering, on call
HUGO = _person("hugo.marchetti", 21, _WINDOWS)  # finance
LENA = _person("lena.duval", 22, _WINDOWS)  # finance
SELLERS = (TOMAS, DANA, IRIS, PAVEL, NOOR, JUNO)
ENGINEERS = (ELIAS, WEN, SOFIA)

CI = Actor("ci-deployer", "192.0.2.240", is_service=True)
WORKER = Actor("crm-worker", "192.0.2.201", is_service=True)
BILLING = Actor("billing-sync", "192.0.2.202", is_service=True)
BACKUP = Actor("backup-nightly", "192.0.2.203", is_service=True)

CUSTOMERS_COUNT = 48_112
CUSTOMERS = (
    "Amber Kettle",
    "Birch Lane Bakery",
    "Corner House Inn",
    "Driftwood Hotel",
    "Elder & Ash",
    "Foxglove Tearoom",
    "Greenbank Grocers",
    "Harbour Canteen",
    "Ivy Court",
    "Juniper Deli",
    "Kestrel Books",
    "Lantern Street Café",
    "Millpond Guesthouse",
    "North Quay Stores",
    "Orchard Rest",
    "Plum Tree Pantry",
)
