//! `sequential` with `arity`: a cut is reduced level by level, each task joining up to `arity` children.
//!
//! Level one joins the members, the next level the tasks below, always contiguous and in order. A group of one child is
//! carried up without a task, so that only a cut of one member has a task with one input. Tasks are numbered from the
//! top, breadth first: the root is task 0, as the one output of every other stage is, and a task stands after the one
//! that it feeds.

use std::collections::{BTreeSet, VecDeque};

use super::waits_for::{Gathered, WaitsFor};
use crate::error::Error;
use crate::pipeline::{Pipeline, Stage};
use crate::planted_bug::PlantedBug;
use crate::state::{Group, Inputs, Plan, Scope, Task, TaskId};
use crate::transaction::{Tx, read, transact};
use crate::yard::Yard;

/// What a task joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// A member of the cut, counted from its first.
    Member(u32),
    /// A task of the same group.
    Task(u32),
}

/// Who joins what in one cut. It follows from how many members there are, and from the arity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The children of each task, by its index.
    tasks: Vec<Vec<Child>>,
    /// The task that each task feeds, by its index; none for the root.
    parents: Vec<Option<u32>>,
    /// The task that each member feeds.
    parents_of_members: Vec<u32>,
}

/// A node of the tree while it is built from below.
enum Node {
    Member(u32),
    Join(Vec<Node>),
}

impl Tree {
    /// The tree over so many members, of which there is at least one. An arity below 2 would never come to an end, and
    /// is taken for 2.
    pub fn new(members: u32, arity: u32) -> Self {
        let mut level: Vec<Node> = (0..members).map(Node::Member).collect();
        if members == 1 {
            level = vec![Node::Join(level)];
        }
        while level.len() > 1 {
            level = joined(level, arity.max(2) as usize);
        }
        let mut tree =
            Self { tasks: Vec::new(), parents: Vec::new(), parents_of_members: vec![0; members as usize] };
        let mut waiting: VecDeque<(Option<u32>, Vec<Node>)> = VecDeque::new();
        if let Some(Node::Join(children)) = level.pop() {
            waiting.push_back((None, children));
        }
        let mut numbered = 1;
        while let Some((parent, nodes)) = waiting.pop_front() {
            let index = tree.tasks.len() as u32;
            let mut children = Vec::with_capacity(nodes.len());
            for node in nodes {
                children.push(match node {
                    Node::Member(member) => {
                        tree.parents_of_members[member as usize] = index;
                        Child::Member(member)
                    }
                    Node::Join(below) => {
                        waiting.push_back((Some(index), below));
                        numbered += 1;
                        Child::Task(numbered - 1)
                    }
                });
            }
            tree.tasks.push(children);
            tree.parents.push(parent);
        }
        tree
    }

    /// How many tasks it takes.
    pub fn len(&self) -> u32 {
        self.tasks.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// In order; nothing for a task that is not in the tree.
    pub fn children(&self, task: u32) -> &[Child] {
        self.tasks.get(task as usize).map_or(&[], Vec::as_slice)
    }

    /// The task that this task feeds.
    pub fn parent(&self, task: u32) -> Option<u32> {
        self.parents.get(task as usize).copied().flatten()
    }

    /// The task that a member feeds.
    pub fn parent_of_member(&self, member: u32) -> Option<u32> {
        self.parents_of_members.get(member as usize).copied()
    }
}

fn joined(level: Vec<Node>, arity: usize) -> Vec<Node> {
    let mut above = Vec::with_capacity(level.len().div_ceil(arity));
    let mut nodes = level.into_iter();
    loop {
        let mut group: Vec<Node> = nodes.by_ref().take(arity).collect();
        match group.len() {
            0 => return above,
            1 => above.append(&mut group),
            _ => above.push(Node::Join(group)),
        }
    }
}

/// A tree over the members: its tasks wait for their own children, and the group for none.
pub(super) fn gathered(scope: &Scope, pipeline: &Pipeline, stage: &Stage, arity: u32) -> Gathered {
    let Some(cut) = scope.cut() else { return Err(WaitsFor::Stages(Vec::new())) };
    let source = stage.sources().next().map(|source| pipeline.stages[source].name.clone());
    let members = cut.members.len() as u32;
    let inputs = Inputs::Reduced { stage: source, members, arity };
    Ok(Plan { expected: Tree::new(members, arity).len(), inputs })
}

impl Yard {
    /// Which of the members that these tasks join are there.
    pub(crate) async fn members_joined(
        &self,
        group: &Group,
        tree: &Tree,
        tasks: &[u32],
    ) -> Result<BTreeSet<u32>, Error> {
        let children = tasks.iter().flat_map(|task| tree.children(*task));
        let members: BTreeSet<u32> = children
            .filter_map(|child| match child {
                Child::Member(member) => Some(*member),
                Child::Task(_) => None,
            })
            .collect();
        let Inputs::Reduced { stage: Some(stage), .. } = &group.inputs else { return Ok(members) };
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&group.scope)).await?;
        match scope.as_ref().and_then(|scope| Some((scope, scope.cut()?))) {
            Some((scope, cut)) => {
                let members: Vec<u32> = members.into_iter().collect();
                self.members_there(scope.chain(), cut, stage, &members).await
            }
            None => Ok(BTreeSet::new()),
        }
    }

    /// What a task of a tree joins and does not have yet, in words.
    pub(crate) async fn missing_children(&self, id: &TaskId) -> Result<Vec<String>, Error> {
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&id.scope)).await?;
        let group: Option<Group> = read(&self.port, &Group::key_of(&id.scope, &id.stage)).await?;
        let Some((scope, group)) = scope.zip(group) else { return Ok(Vec::new()) };
        let Some(tree) = group.inputs.tree() else { return Ok(Vec::new()) };
        let mut missing = Vec::new();
        for child in tree.children(id.index) {
            if !transact(&self.port, async |tx| self.is_there(tx, &scope, &group, *child).await).await? {
                missing.push(match child {
                    Child::Task(task) => format!("task {task}"),
                    Child::Member(member) => format!("block {}", scope.heights().0 + u64::from(*member)),
                });
            }
        }
        Ok(missing)
    }

    /// Whether a child is there. Each is checked, so that a transaction that finds one missing meets a conflict when it comes.
    pub(crate) async fn is_there(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        group: &Group,
        child: Child,
    ) -> Result<bool, Error> {
        let member = match child {
            Child::Task(task) => {
                let id = TaskId::new(&group.scope, &group.stage, task);
                let key = id.task_key();
                let task: Option<Task> = match self.planted(PlantedBug::SiblingPeeked) {
                    false => tx.check(&key).await?,
                    true => tx.peek(&key).await?,
                };
                return Ok(task.is_some_and(|task| task.is_accepted()));
            }
            Child::Member(member) => member,
        };
        let Inputs::Reduced { stage: Some(stage), .. } = &group.inputs else { return Ok(true) };
        let Some(block) = scope.cut().and_then(|cut| cut.member_id(scope.chain(), member)) else {
            return Ok(false);
        };
        let decided: Option<Group> = tx.check(&Group::key_of(&block, stage)).await?;
        Ok(decided.is_some_and(|group| group.is_decided()))
    }
}

#[cfg(test)]
mod tests {
    use super::Child::{Member, Task};
    use super::*;

    fn tasks(members: u32, arity: u32) -> Vec<Vec<Child>> {
        let tree = Tree::new(members, arity);
        (0..tree.len()).map(|task| tree.children(task).to_vec()).collect()
    }

    #[test]
    fn small_trees_are_as_drawn() {
        assert_eq!(tasks(1, 2), [vec![Member(0)]]);
        assert_eq!(tasks(2, 2), [vec![Member(0), Member(1)]]);
        // The third has no partner, and comes in one level up.
        assert_eq!(tasks(3, 2), [vec![Task(1), Member(2)], vec![Member(0), Member(1)]]);
        let five = [
            vec![Task(1), Member(4)],
            vec![Task(2), Task(3)],
            vec![Member(0), Member(1)],
            vec![Member(2), Member(3)],
        ];
        assert_eq!(tasks(5, 2), five);
        let six = [
            vec![Task(1), Task(2)],
            vec![Task(3), Task(4)],
            vec![Member(4), Member(5)],
            vec![Member(0), Member(1)],
            vec![Member(2), Member(3)],
        ];
        assert_eq!(tasks(6, 2), six);
        let seven = [
            vec![Task(1), Task(2), Member(6)],
            vec![Member(0), Member(1), Member(2)],
            vec![Member(3), Member(4), Member(5)],
        ];
        assert_eq!(tasks(7, 3), seven);
    }

    /// What a task proves in the end, in order.
    fn below(tree: &Tree, task: u32, found: &mut Vec<u32>) {
        for child in tree.children(task) {
            match child {
                Member(member) => found.push(*member),
                Task(task) => below(tree, *task, found),
            }
        }
    }

    /// Levels above the members, and how many tasks they take, by counting alone.
    fn counted(members: u32, arity: u32) -> (u32, u32) {
        let (mut width, mut levels, mut tasks) = (members, 0, 0);
        while width > 1 || levels == 0 {
            tasks += width / arity + u32::from(width % arity > 1 || members == 1);
            width = width.div_ceil(arity);
            levels += 1;
        }
        (levels, tasks)
    }

    fn height(tree: &Tree, task: u32) -> u32 {
        let under = tree.children(task).iter().map(|child| match child {
            Member(_) => 0,
            Task(task) => height(tree, *task),
        });
        1 + under.max().unwrap_or(0)
    }

    #[test]
    fn every_member_is_under_the_root_once_and_in_order() {
        for arity in 2..=16 {
            for members in 1..=1_024 {
                let tree = Tree::new(members, arity);
                let mut found = Vec::new();
                below(&tree, 0, &mut found);
                assert!(found.into_iter().eq(0..members), "{members} members by {arity}");
                let (levels, tasks) = counted(members, arity);
                assert_eq!((height(&tree, 0), tree.len()), (levels, tasks), "{members} members by {arity}");
            }
        }
    }

    #[test]
    fn a_task_joins_two_to_arity_children_and_stands_after_the_one_it_feeds() {
        for arity in 2..=16 {
            for members in 1..=1_024 {
                let tree = Tree::new(members, arity);
                let least = if members == 1 { 1 } else { 2 };
                let mut fed = vec![0; tree.len() as usize];
                for task in 0..tree.len() {
                    let children = tree.children(task);
                    assert!((least..=arity as usize).contains(&children.len()), "{members} by {arity}");
                    for child in children {
                        match child {
                            Member(member) => assert_eq!(tree.parent_of_member(*member), Some(task)),
                            Task(below) => {
                                assert!(*below > task, "{below} feeds {task}");
                                assert_eq!(tree.parent(*below), Some(task));
                                fed[*below as usize] += 1;
                            }
                        }
                    }
                }
                assert_eq!(tree.parent(0), None);
                assert!(fed[1..].iter().all(|times| *times == 1), "{members} by {arity}: {fed:?}");
            }
        }
    }

    #[test]
    fn a_tail_is_carried_up_until_it_finds_company() {
        for (members, arity) in [(3, 2), (9, 8), (17, 16), (257, 16), (1_023, 2)] {
            let tree = Tree::new(members, arity);
            let parent = tree.parent_of_member(members - 1).map(|task| tree.children(task).to_vec());
            let last = Member(members - 1);
            assert!(
                matches!(parent.as_deref(), Some([Task(_), .., tail]) if *tail == last),
                "{members} by {arity}: {parent:?}"
            );
        }
    }

    #[test]
    fn what_is_not_in_the_tree_has_no_place() {
        let tree = Tree::new(4, 2);
        assert_eq!((tree.children(3), tree.parent(3), tree.parent_of_member(4)), (&[][..], None, None));
        assert!(Tree::new(0, 2).is_empty());
    }
}
