"""What actions of tasks need, and a run in which there is nothing to do does not: who imports this has it all."""

from c2wtasks.output import publish as publish
from c2wtasks.rootfs import dir as dir
from c2wtasks.rootfs import forms as forms
from c2wtasks.rootfs import holding as holding
from c2wtasks.tasks import changed as changed
from c2wtasks.tasks import packages as packages
from c2wtasks.tasks import root as root
from c2wtasks.tree import alike as alike
from c2wtasks.tree import apply as apply
from c2wtasks.tree import difference as difference
from c2wtasks.tree import lookup as lookup
from c2wtasks.tree import recorded as recorded
from c2wtasks.tree import treefile as treefile
from c2wtasks.tree import weight as weight
