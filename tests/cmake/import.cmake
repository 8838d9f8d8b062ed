# Published configurations: golden specs, sizes, refusals, input of every sort; and the verb.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
foreach(import_test test_import test_import_hostile)
  remat_test(${import_test} unit/${import_test}.c support/published_models.c LIBS remat_frontend remat_shared PkgConfig::JANSSON)
  target_compile_definitions(${import_test} PRIVATE REMAT_IMPORT_CASES="${CMAKE_SOURCE_DIR}/tests/cases/import")
endforeach()
