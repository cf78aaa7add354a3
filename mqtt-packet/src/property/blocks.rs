//! Where properties are kept: two blocks of bytes, and which properties are in them. Without the feature `v5` there are
//! none, and nothing of every packet is spent on them.

/// At most two validated blocks, and one bit for each property in them: most questions are answered without reading.
#[cfg(feature = "v5")]
#[derive(Clone, Copy, Default)]
pub(super) struct Blocks<'a> {
    blocks: [&'a [u8]; 2],
    present: u32,
}

#[cfg(feature = "v5")]
impl<'a> Blocks<'a> {
    #[inline(always)]
    pub(super) const fn new(head: &'a [u8], tail: &'a [u8], present: u32) -> Self {
        Self { blocks: [head, tail], present }
    }

    #[inline(always)]
    pub(super) const fn head(&self) -> &'a [u8] {
        self.blocks[0]
    }

    #[inline(always)]
    pub(super) const fn tail(&self) -> &'a [u8] {
        self.blocks[1]
    }

    #[inline(always)]
    pub(super) const fn both(&self) -> &[&'a [u8]; 2] {
        &self.blocks
    }

    #[inline(always)]
    pub(super) const fn present(&self) -> u32 {
        self.present
    }
}

/// No block.
#[cfg(not(feature = "v5"))]
#[derive(Clone, Copy, Default)]
pub(super) struct Blocks<'a>(core::marker::PhantomData<&'a [u8]>);

#[cfg(not(feature = "v5"))]
impl<'a> Blocks<'a> {
    pub(super) const fn new(_head: &'a [u8], _tail: &'a [u8], _present: u32) -> Self {
        Self(core::marker::PhantomData)
    }

    pub(super) const fn head(&self) -> &'a [u8] {
        &[]
    }

    pub(super) const fn tail(&self) -> &'a [u8] {
        &[]
    }

    pub(super) const fn both(&self) -> &[&'a [u8]; 2] {
        &[&[], &[]]
    }

    pub(super) const fn present(&self) -> u32 {
        0
    }
}
