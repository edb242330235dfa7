//! Reducing a cut by a tree of tasks: each is listed once its own children are there, not when all members are.
//!
//! All tasks of the tree are created when the cut closes; those whose children are missing only gather. Whatever brings
//! the last child of a task lists it: the result of a task below it, in the transaction that records it, or the decision
//! of a member, right after it. Each costs as many reads as the task has children, at most 16. What a crash in between
//! loses is found by the sweeper, which looks at all that still gathers: a range of the open markers, and for each
//! member that one of them still waits for one read by key, many at once, besides the children of those that it lists.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::listing::put_listing;
use crate::pages::Pages;
use crate::pipeline::Pipeline;
use crate::planted_bug::PlantedBug;
use crate::state::{CutAt, Group, Marker, Scope, Task, TaskId};
use crate::strategy::reduce::{Child, Tree};
use crate::transaction::{Item, Tx, read, read_range, transact};
use crate::yard::Yard;

/// Markers of one page. A tree over the largest cut has no more than 1,023 tasks.
const MARKERS_A_PAGE: usize = 512;

impl Yard {
    /// A task of a tree was accepted: the one that joins its output may have all its children now.
    pub(crate) async fn feed_parent(&self, tx: &mut Tx<'_>, child: &Task) -> Result<(), Error> {
        let Some(parent) = child.feeds() else { return Ok(()) };
        let group: Option<Group> = tx.peek(&Group::key_of(&child.id().scope, &child.id().stage)).await?;
        let Some(group) = group else { return Ok(()) };
        match group.inputs.tree() {
            Some(tree) => self.feed(tx, &group, &tree, parent, Some(child.id().index)).await,
            None => Ok(()),
        }
    }

    /// A stage of a block was decided: the tasks that join its output may have all their children now.
    pub(crate) async fn feed_cuts(
        &self,
        block: &Scope,
        pipeline: &Pipeline,
        index: usize,
    ) -> Result<(), Error> {
        let height = block.heights().0;
        for (_, reader) in pipeline.readers(index) {
            if !reader.is_reduction() {
                continue;
            }
            let covering = CutAt::covering(block.chain(), &reader.name, height);
            for (_, _, cut) in read_range::<CutAt>(&self.port, &covering).await? {
                if cut.to >= height {
                    self.feed_member(&cut, (height - cut.from) as u32).await?;
                }
            }
        }
        Ok(())
    }

    async fn feed_member(&self, cut: &CutAt, member: u32) -> Result<(), Error> {
        let group: Option<Group> = read(&self.port, &Group::key_of(&cut.scope, &cut.stage)).await?;
        let Some(group) = group.filter(|group| !group.is_over()) else { return Ok(()) };
        let tree = group.inputs.tree();
        let task = tree.as_ref().and_then(|tree| tree.parent_of_member(member));
        match task.zip(tree.as_ref()).filter(|(task, _)| *task < group.created) {
            Some((task, tree)) => {
                transact(&self.port, async |tx| self.feed(tx, &group, tree, task, None).await).await
            }
            // Who creates the last page looks at all of them.
            None => Ok(()),
        }
    }

    /// What the sweeper does for a scope: nothing that a crash kept from being listed stays so.
    pub(crate) async fn list_all_fed(&self, scope: &Scope) -> Result<(), Error> {
        let Some(cut) = scope.cut().filter(|_| scope.is_live() && !scope.is_settled()) else { return Ok(()) };
        let group: Option<Group> = read(&self.port, &Group::key_of(scope.id(), &cut.stage)).await?;
        match group.filter(|group| group.is_created() && !group.is_over()) {
            Some(group) => self.list_fed(&group).await,
            None => Ok(()),
        }
    }

    /// Lists whatever gathers and has all its children.
    pub(crate) async fn list_fed(&self, group: &Group) -> Result<(), Error> {
        let Some(tree) = group.inputs.tree() else { return Ok(()) };
        let (mut open, mut gathering) = (BTreeSet::new(), Vec::new());
        let range = Marker::range(&group.scope, &group.stage, self.page_of(MARKERS_A_PAGE));
        let mut pages = Pages::<Marker>::of(range);
        while let Some(page) = pages.next(&self.port).await? {
            for (_, _, marker) in page {
                open.insert(marker.id.index);
                gathering.extend(marker.gathers.then_some(marker.id.index));
            }
        }
        let waits = |child: &Child| matches!(child, Child::Task(below) if open.contains(below));
        gathering.retain(|task| !tree.children(*task).iter().any(waits));
        let decided = self.members_joined(group, &tree, &gathering).await?;
        let lacks = |child: &Child| matches!(child, Child::Member(member) if !decided.contains(member));
        for task in gathering {
            if !tree.children(task).iter().any(lacks) || self.planted(PlantedBug::ListedUnfed) {
                transact(&self.port, async |tx| self.feed(tx, group, &tree, task, None).await).await?;
            }
        }
        Ok(())
    }

    /// Lists a task that gathers, if all its children are there. A child that is missing is checked, so that of two
    /// last children that come at once one finds the other. `comes` is the child that this transaction brings.
    pub(crate) async fn feed(
        &self,
        tx: &mut Tx<'_>,
        group: &Group,
        tree: &Tree,
        task: u32,
        comes: Option<u32>,
    ) -> Result<(), Error> {
        let id = TaskId::new(&group.scope, &group.stage, task);
        let scope: Option<Scope> = tx.peek(&Scope::key_of(&group.scope)).await?;
        let Some(scope) = scope.filter(Scope::is_live) else { return Ok(()) };
        let comes = comes.map(Child::Task);
        for child in tree.children(task).iter().filter(|child| Some(**child) != comes) {
            if !self.is_there(tx, &scope, group, *child).await? && !self.planted(PlantedBug::ListedUnfed) {
                return Ok(());
            }
        }
        let found: Option<Task> = tx.check(&id.task_key()).await?;
        if let Some(mut found) = found.filter(|task| task.gathers()) {
            put_listing(tx, found.list(self.port.now_ms()))?;
            tx.put(&found)?;
            let marker = Marker::of(&found);
            tx.peek::<Marker>(&marker.key()).await?;
            tx.put(&marker)?;
        }
        Ok(())
    }
}
